// Small helpers. Every page works without this script.
"use strict";

// The token in the fragment of the address was never sent: this page posts it, and forgets it.
const signIn = document.getElementById("sign-in");
if (signIn && location.hash.length > 1) {
  signIn.elements.token.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  signIn.requestSubmit();
}

// After the sign-in, the console itself opens its first page.
const enter = document.getElementById("continue");
if (enter) {
  location.replace(enter.href);
}

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy the command";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

// A text file that is dropped into a list is added to the list. The file stays in this page until the
// form is sent.
for (const area of document.querySelectorAll("textarea[data-drop]")) {
  const limit = 3_000_000;
  for (const hint of area.parentElement.querySelectorAll(".drop")) hint.hidden = false;
  area.addEventListener("dragover", (event) => {
    if (event.dataTransfer.types.includes("Files")) event.preventDefault();
  });
  area.addEventListener("drop", async (event) => {
    const [file] = event.dataTransfer.files;
    if (!file) return;
    event.preventDefault();
    if (file.size > limit) {
      area.setCustomValidity(`The file is too long: it has more than ${limit} bytes.`);
      area.reportValidity();
      return;
    }
    area.setCustomValidity("");
    const text = await file.text();
    area.value = area.value.trim() ? `${area.value.trimEnd()}\n${text}` : text;
  });
  area.addEventListener("input", () => area.setCustomValidity(""));
}

// Live numbers, only while somebody can see the page.
const live = document.querySelector("[data-live]");
if (live) {
  let source = null;
  let ended = false;
  let paused = false;
  const pause = document.getElementById("live-pause");
  let held = null;
  let units = 0;
  const say = (id, text) => { document.getElementById(id).textContent = text; };
  // New content would take the focus away, so it waits until the focus is elsewhere.
  const show = (html) => {
    if (live.contains(document.activeElement)) {
      held = html;
    } else {
      held = null;
      live.innerHTML = html;
    }
  };
  live.addEventListener("focusout", () => {
    setTimeout(() => { if (held !== null) show(held); });
  });
  const close = () => {
    source?.close();
    source = null;
  };
  const open = () => {
    if (source || ended || paused || document.hidden) return;
    source = new EventSource(live.dataset.live);
    source.addEventListener("numbers", (event) => show(event.data));
    source.addEventListener("summary", (event) => say("live-summary", event.data));
    source.addEventListener("time", (event) => {
      say("live-time", event.data);
      say("live-note", "");
    });
    source.addEventListener("cost", (event) => {
      units += Number(event.data);
      say("live-cost", ` Live numbers since then: ${units.toFixed(1)} read units.`);
    });
    source.addEventListener("stale", (event) => say("live-note", event.data));
    source.addEventListener("end", (event) => {
      ended = true;
      if (pause) pause.hidden = true;
      say("live-note", event.data);
      close();
    });
    source.addEventListener("reload", () => {
      close();
      location.reload();
    });
    source.addEventListener("error", () => {
      say("live-note", "The numbers are old: the console does not answer.");
    });
  };
  if (pause) {
    pause.hidden = false;
    pause.addEventListener("click", () => {
      paused = !paused;
      pause.textContent = paused ? "Resume live numbers" : "Pause live numbers";
      if (paused) close();
      else open();
    });
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  open();
}

// Uploads in parts: a cut upload continues, also after a reload, when the same file is chosen again.
const upload = document.getElementById("upload");
if (upload && window.crypto?.subtle) {
  const PART = 8 * 1024 * 1024;
  const END = 1024 * 1024;
  const TRIES = 5;
  const { file: input, form: token } = upload.elements;
  const button = upload.querySelector("button");
  const bar = document.getElementById("upload-progress");
  const note = document.getElementById("upload-note");
  const hint = document.getElementById("upload-drop");
  const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });
  const size = (bytes) => `${(bytes / 1048576).toFixed(1)} MiB`;

  // The file is known by its name, size, time and the digest of both ends.
  const identity = async (file) => {
    const ends = new Blob([file.slice(0, END), file.slice(Math.max(0, file.size - END))]);
    const digest = await crypto.subtle.digest("SHA-256", await ends.arrayBuffer());
    const hex = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0"));
    return new URLSearchParams({
      form: token.value,
      name: file.name,
      size: file.size,
      modified: Math.max(0, Math.trunc(file.lastModified)),
      ends: hex.join(""),
    });
  };

  // Returns the number of stored bytes. A refusal with that number only moves the place.
  const ask = async (method, url, body, headers) => {
    const answer = await fetch(url, { method, body, headers });
    const received = answer.headers.get("x-packcast-received");
    if (answer.ok || (answer.status === 409 && received !== null)) return Number(received);
    const refusal = new Error((await answer.text()).trim());
    refusal.isFinal = answer.status < 500 || answer.status === 507;
    throw refusal;
  };

  const send = async (file) => {
    const url = upload.dataset.upload;
    const known = await identity(file);
    let place = await ask("POST", url, known);
    let tries = 0;
    while (place < file.size) {
      bar.value = (1000 * place) / file.size;
      note.textContent = `${size(place)} of ${size(file.size)} are uploaded.`;
      const before = place;
      try {
        const part = file.slice(place, place + PART);
        place = await ask("PUT", `${url}?offset=${place}`, part, { "x-packcast-form": token.value });
      } catch (error) {
        if (error.isFinal || ++tries > TRIES) throw error;
        await pause(1000 * tries);
        place = await ask("POST", url, known);
      }
      if (place > before) tries = 0;
      else if (++tries > TRIES) throw new Error("The upload does not get on.");
    }
  };

  const begin = async (file) => {
    button.disabled = true;
    bar.hidden = false;
    try {
      await send(file);
      location.assign(upload.dataset.next);
    } catch (error) {
      note.textContent = error.isFinal
        ? error.message
        : `The upload was cut: ${error.message} Choose the same file again to continue.`;
      button.disabled = false;
    }
  };

  upload.addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.files.length > 0) begin(input.files[0]);
  });
  hint.hidden = false;
  upload.addEventListener("dragover", (event) => event.preventDefault());
  upload.addEventListener("drop", (event) => {
    event.preventDefault();
    const file = event.dataTransfer.files[0];
    if (file && !button.disabled) begin(file);
  });
}
