/** The microphone's part of the page: start, stop, level, and what there is to say about them. */

import { announce, byId, clock, make, show } from "./dom.js";
import { LiveStream } from "./live.js";
import { findObstacle, listDevices, Microphone } from "./microphone.js";
import { Recording } from "./recording.js";
import { Transcript } from "./transcript.js";

const BEHIND_S = 3;
const MUTED = 0.001;
const MUTED_PIECES = 50;
const CLIPPED_PIECES = 5;
const FLOOR_DB = -60;

/** Space below a text that grows (CSS pixels). */
const MARGIN = 24;

const LABELS = { off: "Start", starting: "Starting…", on: "Stop", finishing: "Finishing…" };
const NOTES = { starting: "If the browser asks, allow the microphone.", finishing: "Waiting for the last words." };

export class Listening {
  /** page: {info, addTexts, removeText, askForToken} of main.js. */
  constructor(page) {
    this.page = page;
    this.button = byId("listen");
    this.button.addEventListener("click", () => this.toggle());
    this.setPhase("off");
    const obstacle = findObstacle();
    if (obstacle) {
      this.button.disabled = byId("device").disabled = true;
      show(byId("microphone-status"), obstacle);
      return;
    }
    this.offerDevices();
    navigator.mediaDevices.addEventListener("devicechange", () => this.offerDevices());
  }

  get isBusy() {
    return this.phase !== "off";
  }

  toggle() {
    if (this.phase === "off") this.start();
    else if (this.phase === "on") this.stop();
  }

  async start() {
    this.setPhase("starting");
    show(byId("microphone-message"), "");
    Object.assign(this, { text: null, broken: "", quiet: 0, clipped: 0, recording: null, stream: null });
    this.microphone = new Microphone((piece) => this.take(piece), () => this.lose());
    try {
      await this.microphone.start(byId("device").value);
    } catch (error) {
      this.fail(error);
      return;
    }
    this.offerDevices();
    this.recording = new Recording(this.microphone.rate);
    this.stream = new LiveStream(this.microphone.rate, {
      ready: (info) => this.begin(info),
      partial: (text, stable) => this.keepVisible(() => this.text.setPartial(text, stable)),
      final: (utterance) => {
        this.keepVisible(() => this.text.add(utterance));
        announce(utterance.text);
      },
      broken: (message) => (this.broken = message),
      end: (error) => this.end(error),
    });
  }

  async stop() {
    this.setPhase("finishing");
    await this.microphone.stop();
    this.stream.finish();
  }

  lose() {
    show(byId("microphone-message"), "The microphone was disconnected. What was heard until then is below.");
    if (this.phase === "on") this.stop();
  }

  /** The server accepts the stream, for the first time or again. */
  begin(info) {
    this.broken = "";
    if (this.text) return;
    this.hearsAll = info.look_ahead_s === null;
    const now = new Date();
    const time = now.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const stamp = new Date(now - 60_000 * now.getTimezoneOffset()).toISOString().slice(0, 16).replace("T", " ");
    const text = new Transcript(`Microphone, ${time}`, `microphone ${stamp.replace(":", ".")}`, info.language, () =>
      this.page.removeText(text),
    );
    this.text = text;
    text.remove.hidden = true;
    text.setState("");
    this.page.addTexts([text]);
    if (this.phase === "starting") this.setPhase("on");
    text.element.scrollIntoView({ block: "nearest" });
  }

  /** Follow a text as it grows, unless its end was scrolled away. */
  keepVisible(change) {
    const hidden = () => this.text.element.getBoundingClientRect().bottom + MARGIN - innerHeight;
    // positions are rounded when a page scrolls
    const wasVisible = hidden() < MARGIN;
    change();
    if (wasVisible && hidden() > 0) scrollBy({ top: Math.ceil(hidden()) });
  }

  take({ samples, peak, level }) {
    this.recording?.add(samples);
    this.stream?.send(samples);
    this.quiet = peak < MUTED ? this.quiet + 1 : 0;
    // once too loud, the advice stays for a while
    this.clipped = Math.min(50, Math.max(0, this.clipped + (peak > 0.99 ? 10 : -1)));
    this.setLevel(level);
    if (this.phase !== "on") return;
    show(byId("microphone-status"), this.describe());
    show(byId("microphone-clock"), clock(this.recording.samples / this.recording.rate));
  }

  /** The most important thing to say. */
  describe() {
    if (this.broken) return this.broken;
    if (this.stream.behind > BEHIND_S) {
      return `The server is ${Math.round(this.stream.behind)} s behind. Nothing is lost, but the text comes later.`;
    }
    if (this.quiet > MUTED_PIECES) return "No sound arrives. Is the microphone muted, or another device selected?";
    if (this.clipped > CLIPPED_PIECES * 4) return "Too loud: turn the microphone down or move away from it.";
    return this.hearsAll ? "Listening. This network needs the whole recording: the text appears when you stop." : "Listening.";
  }

  end(error) {
    this.microphone.close();
    if (this.text) {
      const wav = this.recording.wav();
      this.text.remove.hidden = false;
      this.text.duration = this.recording.samples / this.recording.rate;
      this.text.finish(wav, ["Save recording", wav, ".wav"]);
    }
    if (error) this.fail(error);
    else this.setPhase("off");
  }

  fail(error) {
    this.setPhase("off");
    show(byId("microphone-message"), error.message);
    if (error.needsToken) this.page.askForToken();
  }

  setPhase(phase) {
    this.phase = phase;
    this.button.textContent = LABELS[phase];
    // a button that is disabled would lose the focus
    this.button.setAttribute("aria-disabled", String(phase === "starting" || phase === "finishing"));
    this.button.classList.toggle("on", phase === "on");
    byId("device").disabled = phase !== "off";
    byId("microphone").classList.toggle("open", phase === "on" || phase === "finishing");
    show(byId("microphone-status"), NOTES[phase] ?? "");
    show(byId("microphone-clock"), "");
    if (phase === "off" || phase === "finishing") this.setLevel(0);
  }

  setLevel(level) {
    const decibels = Math.max(FLOOR_DB, Math.min(0, 20 * Math.log10(level || 1e-9)));
    const meter = byId("level");
    meter.setAttribute("aria-valuenow", Math.round(decibels));
    meter.setAttribute("aria-valuetext", level ? `${Math.round(decibels)} decibels` : "off");
    meter.firstElementChild.style.inlineSize = `${100 * (1 - decibels / FLOOR_DB)}%`;
  }

  async offerDevices() {
    const select = byId("device");
    const chosen = select.value;
    const options = (await listDevices()).map(({ id, label }) => make("option", { value: id, text: label }));
    select.replaceChildren(make("option", { value: "", text: "Default" }), ...options);
    select.value = options.some(({ value }) => value === chosen) ? chosen : "";
  }
}
