/** One text of the page: how far it is, its words, its recording, and what can be done with it. */

import { clock, make, save, show } from "./dom.js";
import { Player } from "./player.js";
import { formatSrt } from "./subtitles.js";

/** Confidence below which a word is marked, with the class and the word for it. */
const LEVELS = [
  [0.5, "doubtful"],
  [0.8, "unsure"],
];

let count = 0;

export class Transcript {
  /** name: its heading.  file: name of saved files, without ending.  language: of the text.  onRemove: by the user. */
  constructor(name, file, language, onRemove) {
    Object.assign(this, { file, words: [], utterances: [], duration: undefined });
    const id = `text-${++count}`;
    this.state = make("span", { role: "status" });
    this.detail = make("span", { "aria-hidden": "true" });
    this.status = make("p", { class: "status quiet" }, [this.state, this.detail]);
    this.progress = make("progress", { max: "1", "aria-label": `Progress of ${name}`, hidden: true });
    this.message = make("p", { class: "message error", role: "alert", hidden: true });
    this.audio = make("audio", { controls: true, preload: "metadata", "aria-label": `Recording of ${name}`, hidden: true });
    this.box = make("div", { class: "words", lang: language, role: "group", "aria-label": `Text of ${name}` });
    this.partial = make("p", { class: "partial", lang: language, dir: "auto", hidden: true });
    this.actions = make("div", { class: "row actions" });
    this.title = make("h3", { id, text: name, tabindex: "-1" });
    this.remove = make("button", { type: "button", class: "plain", "aria-describedby": id });
    this.askBeforeRemoval(onRemove);
    this.element = make("article", { class: "text", "aria-labelledby": id }, [
      make("div", { class: "heading" }, [this.title, this.remove]),
      this.status, this.progress, this.message, this.audio, this.box, this.partial, this.actions,
    ]);
  }

  /** A text that is there takes a second click: it exists nowhere else. */
  askBeforeRemoval(onRemove) {
    const button = this.remove;
    const reset = () => (button.textContent = "Remove");
    reset();
    button.addEventListener("blur", reset);
    button.addEventListener("click", () => {
      if (!this.words.length || button.textContent !== "Remove") onRemove();
      else button.textContent = "Remove for good?";
    });
  }

  /** How far it is, in words; fraction: 0 to 1, null if it is not known, undefined for no bar. */
  setState(text, fraction) {
    if (this.state.textContent !== text) this.state.textContent = text;
    this.detail.textContent = "";
    this.status.hidden = !text;
    this.progress.hidden = fraction === undefined;
    if (typeof fraction === "number") this.progress.value = fraction;
    else this.progress.removeAttribute("value");
  }

  /** More about the state, which is not read aloud each time that it changes. */
  setDetail(text) {
    this.detail.textContent = text && ` ${text}`;
  }

  /** An error in words, or "" for none. */
  setMessage(text) {
    show(this.message, text);
  }

  /** Buttons as [label, action]; they replace those before. */
  setActions(...buttons) {
    this.actions.replaceChildren(
      ...buttons.map(([text, act]) => make("button", { type: "button", text, onclick: (event) => act(event.target) })),
    );
  }

  /** An utterance that will not change. words: [{word, start, end, conf}]. */
  add({ text, start, end, words }) {
    this.setPartial("", 0);
    if (!text) return;
    const paragraph = make("p", { dir: "auto" }, [make("time", { text: clock(start) })]);
    for (const word of words.length ? words : [{ word: text, start, end }]) {
      const element = wordElement(word);
      this.words.push({ ...word, element });
      paragraph.append(" ", element);
    }
    this.utterances.push({ text, start });
    this.box.append(paragraph);
  }

  /** What is being said; stable: characters that will hardly change (Unicode code points). */
  setPartial(text, stable) {
    const letters = Array.from(text);
    this.partial.replaceChildren(
      letters.slice(0, stable).join(""),
      make("span", { class: "changing", text: letters.slice(stable).join("") }),
    );
    this.partial.hidden = !text;
  }

  /** All is there. recording: Blob or File that can be played.  saved: [label, Blob, ending] to save it as well. */
  finish(recording, saved) {
    this.setPartial("", 0);
    this.setState("");
    if (recording) {
      this.audio.src = URL.createObjectURL(recording);
      this.audio.hidden = false;
      this.audio.addEventListener("error", () => this.loseAudio(), { once: true });
    }
    if (recording && this.words.length) {
      this.box.setAttribute("aria-description", "Arrow keys move between words, Enter plays from there.");
      this.player = new Player(this.box, this.words, this.audio);
    }
    const buttons = [];
    if (this.words.length) {
      buttons.push(["Copy", (button) => this.copy(button)]);
      buttons.push(["Save TXT", () => this.save(this.text(), "text/plain", ".txt")]);
      buttons.push(["Save SRT", () => this.save(formatSrt(this.words, this.duration), "application/x-subrip", ".srt")]);
    } else {
      this.setState("No speech was recognized.");
    }
    if (saved) buttons.push([saved[0], () => save(saved[1], this.file + saved[2])]);
    this.setActions(...buttons);
  }

  loseAudio() {
    this.audio.hidden = true;
    this.setState(this.words.length ? "This browser cannot play this format. The text is complete." : "No speech was recognized.");
  }

  /** The text, one utterance per line. */
  text() {
    return this.utterances.map(({ text }) => `${text}\n`).join("");
  }

  save(text, type, ending) {
    save(new Blob([text], { type: `${type};charset=utf-8` }), this.file + ending);
  }

  async copy(button) {
    try {
      await navigator.clipboard.writeText(this.text());
      button.textContent = "Copied";
    } catch {
      // pages on http:// have no clipboard: the text is selected, so that the keyboard can copy it
      getSelection().selectAllChildren(this.box);
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }

  /** Forget the recording and leave the page. */
  close() {
    this.player?.close();
    if (this.audio.src) URL.revokeObjectURL(this.audio.src);
    this.element.remove();
  }
}

function wordElement({ word, start, conf }) {
  const level = conf === undefined ? undefined : LEVELS.find(([below]) => conf < below)?.[1];
  const sure = conf === undefined ? "" : `, ${level ? `${level}: ` : ""}${Math.round(100 * conf)} % sure`;
  return make("span", { class: level ? `word ${level}` : "word", text: word, title: `${clock(start)}${sure}` });
}
