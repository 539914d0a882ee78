/** A live stream (/stream): samples there, texts back. A connection that breaks is made again, and nothing is lost. */

import { address, fetchInfo, Refused, streamRefusal, subprotocols, UNREACHABLE } from "./server.js";

const CONNECT_MS = 10_000;
const SILENT_MS = 60_000;
const TRY_AGAIN_S = [0.5, 1, 2, 4, 8, 8, 8];
const KEPT_S = 60;

/**
 * One stream, over as many connections as it needs. Calls of `on`: ready(info), partial(text, stable),
 * final({start, end, text, words}), broken(message), end(Refused or null).
 */
export class LiveStream {
  constructor(rate, on) {
    Object.assign(this, { rate, on, finishing: false, ended: false, wasReady: false, tries: 0 });
    // samples since the end of the last utterance; after a broken connection they are sent again
    this.kept = [];
    this.captured = this.base = this.heard = 0;
    this.connect();
  }

  /** Sound that the server has not recognized yet (s). */
  get behind() {
    return this.isReady ? (this.captured - this.base) / this.rate - this.heard : 0;
  }

  /** The next samples, an Int16Array. */
  send(samples) {
    this.kept.push({ at: this.captured, samples });
    this.captured += samples.length;
    if (this.isReady) this.socket.send(samples);
    while (this.isReady && this.kept[0].at < this.captured - KEPT_S * this.rate) this.kept.shift();
  }

  /** No more samples follow. */
  finish() {
    this.finishing = true;
    if (this.isReady) this.sendFinish();
  }

  connect() {
    this.isReady = false;
    this.error = null;
    const socket = (this.socket = new WebSocket(address("stream", "ws"), subprotocols()));
    socket.binaryType = "arraybuffer";
    let opened = false;
    this.watch(CONNECT_MS);
    socket.onopen = () => {
      opened = true;
      socket.send(JSON.stringify({ type: "start", sample_rate: this.rate }));
    };
    socket.onmessage = ({ data }) => this.take(JSON.parse(data));
    socket.onclose = (event) => {
      if (socket === this.socket && !this.ended) this.closed(event, opened);
    };
  }

  take(message) {
    if (this.ended) return;
    if (this.finishing) this.watch(SILENT_MS);
    const offset = this.base / this.rate;
    if (message.type === "ready") this.begin(message);
    else if (message.type === "partial") this.on.partial(message.text, message.stable);
    else if (message.type === "final") this.takeFinal(message, offset);
    else if (message.type === "progress") this.heard = message.heard;
    else if (message.type === "error") this.error = streamRefusal(message);
    // without `finish`, it is the server that stops: the connection is closed with the reason
    else if (message.type === "end" && this.finishing) this.end(null);
  }

  begin(message) {
    clearTimeout(this.timer);
    this.isReady = this.wasReady = true;
    this.tries = this.heard = 0;
    this.base = this.kept.length ? this.kept[0].at : this.captured;
    for (const { samples } of this.kept) this.socket.send(samples);
    this.on.ready(message);
    if (this.finishing) this.sendFinish();
  }

  takeFinal({ text, start, end, words = [] }, offset) {
    const shift = ({ start, end, ...rest }) => ({ ...rest, start: start + offset, end: end + offset });
    const heard = this.base + end * this.rate;
    while (this.kept.length && this.kept[0].at + this.kept[0].samples.length <= heard) this.kept.shift();
    this.on.final({ ...shift({ text, start, end }), words: words.map(shift) });
  }

  sendFinish() {
    this.socket.send(JSON.stringify({ type: "finish" }));
    this.watch(SILENT_MS);
  }

  async closed({ code, reason }, opened) {
    clearTimeout(this.timer);
    this.isReady = false;
    const isTemporary = code === 1012 || code === 1006 || code === 1001 || this.error?.code === "overloaded";
    if (this.wasReady && isTemporary && this.error?.code !== "idle" && this.tries < TRY_AGAIN_S.length) {
      const wait = TRY_AGAIN_S[this.tries++];
      this.on.broken(
        "The connection to the server was lost. Reconnecting: what you say meanwhile will be recognized.",
      );
      this.timer = setTimeout(() => this.connect(), 1000 * wait);
      return;
    }
    this.end(this.error ?? (await explain(code, reason, opened)));
  }

  /** Give up a connection on which nothing comes for so long. */
  watch(milliseconds) {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.timer = setTimeout(() => {
      this.error = new Refused(UNREACHABLE);
      socket.onclose = null;
      socket.close();
      this.closed({ code: 1006, reason: "" }, true);
    }, milliseconds);
  }

  end(error) {
    clearTimeout(this.timer);
    this.ended = true;
    this.isReady = false;
    this.on.end(error);
  }
}

/** Why there is no connection. A browser hides the server's answer to a WebSocket, so it is asked in another way. */
async function explain(code, reason, opened) {
  if (reason) return new Refused(reason, { needsToken: /token/i.test(reason) });
  if (opened) return new Refused(`The server ended the connection (code ${code}).`);
  try {
    await fetchInfo();
  } catch (error) {
    return error;
  }
  return new Refused("The server does not accept live streams from this page. A proxy in between may be blocking WebSockets.");
}
