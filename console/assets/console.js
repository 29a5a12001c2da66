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
  const BLOCK = 8 * 1024 * 1024;
  const TRIES = 5;
  const { file: input, form: token } = upload.elements;
  const button = upload.querySelector("button");
  const bar = document.getElementById("upload-progress");
  const note = document.getElementById("upload-note");
  const hint = document.getElementById("upload-drop");
  const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });
  const size = (bytes) => `${(bytes / 1048576).toFixed(1)} MiB`;
  const digest = (bytes) => crypto.subtle.digest("SHA-256", bytes);
  const final = (text) => Object.assign(new Error(text), { isFinal: true });

  const show = (text, share) => {
    note.textContent = text;
    bar.value = 1000 * share;
  };
  const refuse = (text) => {
    note.textContent = text;
    note.classList.add("fault");
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", note.id);
  };
  const accept = () => {
    note.classList.remove("fault");
    input.removeAttribute("aria-invalid");
  };

  const read = async (file, from, to) => {
    try {
      return await file.slice(from, to).arrayBuffer();
    } catch {
      throw final("The browser cannot read the file: it has changed since it was chosen. Choose it again.");
    }
  };

  // Browsers compute the digest of bytes in memory only. So the start of a file has the digest of the
  // digests of its blocks. `blocks` has those that are known.
  const start = async (file, bytes, blocks) => {
    const whole = Math.floor(bytes / BLOCK);
    while (blocks.length < whole) {
      const from = blocks.length * BLOCK;
      show(`Comparing the file with the stored part: ${size(from)} of ${size(bytes)}.`, from / file.size);
      blocks.push(await digest(await read(file, from, from + BLOCK)));
    }
    const digests = blocks.slice(0, whole);
    if (bytes > whole * BLOCK) digests.push(await digest(await read(file, whole * BLOCK, bytes)));
    const all = await digest(await new Blob(digests).arrayBuffer());
    return Array.from(new Uint8Array(all), (byte) => byte.toString(16).padStart(2, "0")).join("");
  };

  // Returns the sentence of an answer that is no page, or of the failure on a page.
  const sentence = async (answer) => {
    const text = await answer.text();
    if (answer.status === 403) return "The session has ended: open the console again.";
    if (!answer.headers.get("content-type")?.startsWith("text/html")) return text.trim();
    const page = new DOMParser().parseFromString(text, "text/html");
    return page.querySelector("[role=alert] strong")?.textContent ?? "The console refuses the file.";
  };

  // Returns the number of stored bytes. A refusal with that number only moves the place.
  const ask = async (method, url, body, headers) => {
    let answer;
    try {
      answer = await fetch(url, { method, body, headers });
    } catch {
      throw new Error("The console does not answer.");
    }
    const received = answer.headers.get("x-packcast-received");
    if (answer.ok || (answer.status === 409 && received !== null)) return Number(received);
    const refusal = new Error(await sentence(answer));
    refusal.isFinal = answer.status < 500 || answer.status === 507;
    throw refusal;
  };

  const send = async (file) => {
    const url = upload.dataset.upload;
    const blocks = [];
    let place = 0;
    let tries = 0;
    for (;;) {
      try {
        // The console compares as many bytes as it has. Then it has the place, and after all bytes the file.
        const known = new URLSearchParams({
          form: token.value,
          name: file.name,
          size: file.size,
          modified: Math.max(0, Math.trunc(file.lastModified)),
          start: place,
          digest: await start(file, place, blocks),
        });
        const stored = await ask("POST", url, known);
        if (stored !== place) {
          if (++tries > TRIES) throw final("The upload does not continue. Choose the file again.");
          place = stored;
          continue;
        }
        if (place === file.size) return;
        while (place < file.size) {
          show(`${size(place)} of ${size(file.size)} are uploaded.`, place / file.size);
          const bytes = await read(file, place, place - (place % BLOCK) + BLOCK);
          if (place === blocks.length * BLOCK && bytes.byteLength === BLOCK) blocks.push(await digest(bytes));
          const part = new Blob([bytes]);
          const before = place;
          place = await ask("PUT", `${url}?offset=${place}`, part, { "x-packcast-form": token.value });
          if (place > before) {
            tries = 0;
          } else {
            if (++tries > TRIES) throw final("The upload does not continue. Choose the file again.");
            break;
          }
        }
      } catch (error) {
        if (error.isFinal || ++tries > TRIES) throw error;
        note.textContent = `${error.message} Trying again.`;
        await pause(1000 * tries);
      }
    }
  };

  const begin = async (file) => {
    button.disabled = true;
    bar.hidden = false;
    accept();
    try {
      await send(file);
      location.assign(upload.dataset.next);
    } catch (error) {
      refuse(error.isFinal
        ? error.message
        : `The upload was cut: ${error.message} Choose the same file again to continue.`);
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
    if (button.disabled) return;
    const { items, files } = event.dataTransfer;
    if (files.length > 1) {
      refuse("Drop one file at a time, or enter the path of a folder with the files.");
    } else if (items[0]?.webkitGetAsEntry?.()?.isDirectory) {
      refuse("This is a folder: enter its path, or pack it into an archive.");
    } else if (files.length === 1) {
      begin(files[0]);
    }
  });
}
