/** The microphone: permission, devices, samples. */

import { address, Refused, UNREACHABLE } from "./server.js";

/** Why this browser cannot use a microphone here, in words; "" if it can. */
export function findObstacle() {
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) {
    return (
      "Browsers allow the microphone only on pages on https:// or localhost: " +
      "start the server with --ssl-certfile, or open it on its own machine. Recordings can still be sent."
    );
  }
  return window.AudioWorkletNode ? "" : "This browser is too old for live text. Recordings can still be sent.";
}

/** The microphones as [{id, label}]; without permission, they have no labels and are left out. */
export async function listDevices() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices
    .filter(({ kind, deviceId, label }) => kind === "audioinput" && label && deviceId !== "default")
    .map(({ deviceId, label }) => ({ id: deviceId, label }));
}

const REASONS = {
  NotAllowedError: "The browser blocks the microphone for this page: allow it in the address bar, then start again.",
  NotFoundError: "No microphone was found: connect one, then start again.",
  NotReadableError: "The microphone cannot be opened: another program may be using it.",
  OverconstrainedError: "This microphone is not connected any more: choose another device.",
};

/** Samples while it is open. */
export class Microphone {
  /** onPiece: gets {samples: Int16Array, peak, level (both of 1)}.  onLost: the device was disconnected. */
  constructor(onPiece, onLost) {
    Object.assign(this, { onPiece, onLost, rate: 0 });
  }

  /** Open a device; "" is the browser's default. Refused in words if that fails. */
  async start(device) {
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        // what makes speech pleasant for people removes what a network hears
        audio: { deviceId: device ? { exact: device } : undefined, echoCancellation: false, noiseSuppression: false },
      });
      this.context = new AudioContext();
      await this.context.audioWorklet.addModule(address("page/worklet.js")).catch(() => {
        throw new Refused(UNREACHABLE);
      });
      // not waited for: a context that does not begin must not keep the server's answer back
      this.context.resume().catch(() => {});
    } catch (error) {
      this.close();
      if (error instanceof Refused) throw error;
      throw new Refused(REASONS[error.name] ?? `The microphone cannot be opened: ${error.message}`);
    }
    this.rate = this.context.sampleRate;
    this.stream.getAudioTracks()[0].addEventListener("ended", () => this.onLost());
    this.node = new AudioWorkletNode(this.context, "capture");
    this.drained = new Promise((resolve) => {
      this.node.port.onmessage = ({ data }) => (data ? this.onPiece(data) : resolve());
    });
    this.context.createMediaStreamSource(this.stream).connect(this.node);
    // only what leads to the output is computed; the node itself is silent
    this.node.connect(this.context.destination);
  }

  /** Close it after the last piece. */
  async stop() {
    this.node.port.postMessage("stop");
    // a context that the system has suspended does not answer
    await Promise.race([this.drained, new Promise((resolve) => setTimeout(resolve, 500))]);
    this.close();
  }

  close() {
    this.stream?.getTracks().forEach((track) => track.stop());
    if (this.context && this.context.state !== "closed") this.context.close();
  }
}
