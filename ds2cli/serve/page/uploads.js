/** Recordings that are sent to be transcribed, one after another. */

import { announce, clock } from "./dom.js";
import { address, fetchInfo, headers, Refused, refusal } from "./server.js";
import { Transcript } from "./transcript.js";

const PAUSE_S = 1;

export class Uploads {
  /** page: {info, addTexts, removeText, askForToken} of main.js. */
  constructor(page) {
    Object.assign(this, { page, waiting: [], current: null });
  }

  get isBusy() {
    return this.current !== null;
  }

  add(files) {
    const added = files.map((file) => {
      const upload = { file };
      upload.text = new Transcript(file.name, file.name.replace(/\.[^.]+$/, ""), this.page.info?.language, () => {
        this.cancel(upload);
        this.page.removeText(upload.text);
      });
      this.enqueue(upload);
      return upload.text;
    });
    this.page.addTexts(added);
    this.next();
  }

  enqueue(upload) {
    const { text } = upload;
    text.setMessage("");
    text.setState("Waiting");
    text.setActions(["Cancel", () => this.cancel(upload)]);
    this.waiting.push(upload);
  }

  async next() {
    if (this.current || !this.waiting.length) return;
    const upload = (this.current = this.waiting.shift());
    try {
      await this.transcribe(upload);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.stopped(upload, "", error);
      if (error.needsToken) this.page.askForToken();
    } finally {
      clearInterval(upload.ticking);
      this.current = null;
      this.next();
    }
  }

  cancel(upload) {
    if (this.waiting.includes(upload)) {
      this.waiting.splice(this.waiting.indexOf(upload), 1);
      this.stopped(upload, "Cancelled");
    }
    upload.request?.abort();
  }

  stopped(upload, state, error = null) {
    upload.text.setState(state);
    upload.text.setMessage(error?.message ?? "");
    if (error && !error.again) upload.text.setActions();
    else upload.text.setActions(["Try again", () => this.retry(upload)]);
  }

  retry(upload) {
    this.enqueue(upload);
    upload.text.title.focus();
    this.next();
  }

  async transcribe(upload) {
    const { file, text } = upload;
    const info = (this.page.info ??= await fetchInfo());
    if (!file.size) throw new Refused("This file is empty.", { again: false });
    if (file.size > 1e6 * info.max_upload_mb) {
      const size = `${(file.size / 1e6).toFixed(1)} MB`;
      throw new Refused(`This file has ${size}; the server accepts ${info.max_upload_mb} MB.`, { again: false });
    }
    const result = await this.post(upload, info.model);
    if (!result) return;
    text.duration = result.duration;
    for (const utterance of utterancesOf(result)) text.add(utterance);
    text.finish(file);
    announce(`${file.name} is transcribed.`);
  }

  /** Send a recording and wait for its text; null if that was cancelled. */
  post(upload, model) {
    const { file, text } = upload;
    const form = new FormData();
    form.append("model", model);
    form.append("response_format", "verbose_json");
    form.append("timestamp_granularities[]", "word");
    form.append("timestamp_granularities[]", "segment");
    form.append("file", file);
    const request = (upload.request = new XMLHttpRequest());
    request.open("POST", address("v1/audio/transcriptions"));
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    text.setState("Sending", 0);
    request.upload.onprogress = ({ loaded, total }) => {
      text.setState("Sending", loaded / total);
      text.setDetail(`${Math.floor((100 * loaded) / total)} %`);
    };
    request.upload.onload = () => {
      const begin = Date.now();
      text.setState("Recognizing", null);
      upload.ticking = setInterval(() => text.setDetail(clock((Date.now() - begin) / 1000)), 1000);
    };
    return new Promise((resolve, reject) => {
      request.onload = () => {
        if (request.status === 200) resolve(JSON.parse(request.responseText));
        else reject(refusal(request.status, request.responseText, request.getResponseHeader("Retry-After")));
      };
      request.onerror = () => reject(new Refused("The recording could not be sent. Is the server still running, and the file still there?"));
      request.onabort = () => {
        this.stopped(upload, "Cancelled");
        resolve(null);
      };
      request.send(form);
    });
  }
}

/** The utterances of an answer: its segments with their words, or words divided at pauses. */
function utterancesOf({ text, duration, words = [], segments = [] }) {
  const all = words.map(({ confidence, ...word }) => ({ conf: confidence, ...word }));
  if (!all.length) return text ? [{ text, start: 0, end: duration, words: [] }] : [];
  const starts = segments.map(({ start }) => start);
  const found = [];
  for (const [i, word] of all.entries()) {
    const isNew = starts.length
      ? starts.some((start) => start <= word.start + 1e-3 && (i === 0 || start > all[i - 1].start + 1e-3))
      : i === 0 || word.start - all[i - 1].end > PAUSE_S;
    if (isNew || !found.length) found.push([]);
    found.at(-1).push(word);
  }
  return found.map((part) => ({
    text: part.map(({ word }) => word).join(" "),
    start: part[0].start,
    end: part.at(-1).end,
    words: part,
  }));
}
