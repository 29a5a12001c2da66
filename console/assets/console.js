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
