/** Samples of the microphone, mixed to one channel, as 16-bit integers in pieces of a tenth of a second. */

const PIECE_S = 0.1;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = Math.round(sampleRate * PIECE_S);
    this.open = true;
    this.begin();
    this.port.onmessage = () => {
      // stop: what is left, then null
      this.open = false;
      if (this.count) this.send();
      this.port.postMessage(null);
    };
  }

  begin() {
    this.samples = new Int16Array(this.size);
    this.count = this.peak = this.energy = 0;
  }

  process([channels]) {
    if (!this.open) return false;
    const length = channels.length ? channels[0].length : 0;
    for (let i = 0; i < length; i++) {
      let value = 0;
      for (const channel of channels) value += channel[i];
      value /= channels.length;
      this.peak = Math.max(this.peak, Math.abs(value));
      this.energy += value * value;
      this.samples[this.count++] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
      if (this.count === this.size) this.send();
    }
    return true;
  }

  send() {
    const samples = this.samples.slice(0, this.count);
    const level = Math.sqrt(this.energy / this.count);
    this.port.postMessage({ samples, peak: this.peak, level }, [samples.buffer]);
    this.begin();
  }
}

registerProcessor("capture", Capture);
