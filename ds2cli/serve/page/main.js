/** The page: what its parts share, and the controls that belong to none of them. */

import { byId, show } from "./dom.js";
import { Listening } from "./listening.js";
import { fetchInfo, keepToken, token } from "./server.js";
import { Uploads } from "./uploads.js";

const page = {
  info: null,

  addTexts(texts) {
    byId("texts").prepend(...texts.map(({ element }) => element));
    showTexts();
  },

  removeText(text) {
    const near = text.element.nextElementSibling ?? text.element.previousElementSibling;
    text.close();
    showTexts();
    (near?.querySelector("h3") ?? byId("texts-title")).focus();
  },

  askForToken() {
    byId("access").hidden = false;
    byId("token").focus();
  },
};

/** What depends on whether there are texts, and on the switch for their marks. */
function showTexts() {
  const isEmpty = !byId("texts").childElementCount;
  const isShaded = byId("shade").checked;
  byId("empty").hidden = !isEmpty;
  byId("switch").hidden = isEmpty;
  byId("hint").hidden = isEmpty;
  byId("legend").hidden = !isShaded;
  document.body.classList.toggle("shaded", isShaded);
}

function languageName(code) {
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code);
  } catch {
    // not a code of languages
    return code;
  }
}

async function connect() {
  try {
    page.info = await fetchInfo();
  } catch (error) {
    show(byId("server"), "");
    // the field itself says that a token is needed
    show(byId("page-message"), error.needsToken && !token() ? "" : error.message);
    if (error.needsToken) page.askForToken();
    return;
  }
  const { model, language } = page.info;
  show(byId("server"), language !== "und" ? `Model ${model}, ${languageName(language)}` : `Model ${model}`);
  show(byId("page-message"), "");
  byId("access").hidden = true;
}

const listening = new Listening(page);
const uploads = new Uploads(page);

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  try {
    keepToken(byId("token").value);
    show(byId("microphone-message"), "");
    connect();
  } catch (error) {
    show(byId("page-message"), error.message);
  }
});

byId("choose").addEventListener("click", () => byId("files").click());
byId("files").addEventListener("change", ({ target }) => {
  uploads.add([...target.files]);
  target.value = "";
});

// the whole page takes files: one that misses the zone would replace the page
let depth = 0;
const setOver = (isOver) => byId("drop").classList.toggle("over", isOver);
const hasFiles = ({ dataTransfer }) => dataTransfer?.types.includes("Files");
addEventListener("dragenter", (event) => hasFiles(event) && setOver(++depth > 0));
addEventListener("dragleave", (event) => hasFiles(event) && setOver(--depth > 0));
addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  setOver((depth = 0));
  const folders = [...event.dataTransfer.items].filter((item) => item.webkitGetAsEntry?.()?.isDirectory);
  show(byId("page-message"), folders.length ? "Folders cannot be sent: drop the files in them." : "");
  if (!folders.length) uploads.add([...event.dataTransfer.files]);
});

byId("shade").addEventListener("change", showTexts);
showTexts();

addEventListener("beforeunload", (event) => {
  if (listening.isBusy || uploads.isBusy) event.preventDefault();
});

const fault = (error) => show(byId("page-message"), `A part of this page failed (${error}). Reload it to continue.`);
addEventListener("error", ({ message }) => fault(message));
addEventListener("unhandledrejection", ({ reason }) => fault(reason?.message ?? reason));

connect();
