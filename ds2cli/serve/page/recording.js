/** What the microphone heard, as a file. */

const PIECES = 100;

/** Collects samples of 16 bits; every ten seconds of them become a Blob, which a browser may keep on disk. */
export class Recording {
  constructor(rate) {
    Object.assign(this, { rate, samples: 0, blobs: [], pieces: [] });
  }

  add(samples) {
    this.pieces.push(samples);
    this.samples += samples.length;
    if (this.pieces.length === PIECES) this.blobs.push(new Blob(this.pieces.splice(0)));
  }

  /** All of it, as a WAV file of one channel. */
  wav() {
    const bytes = 2 * this.samples;
    const header = new DataView(new ArrayBuffer(44));
    const text = (at, letters) => [...letters].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
    text(0, "RIFF");
    header.setUint32(4, 36 + bytes, true);
    text(8, "WAVEfmt ");
    header.setUint32(16, 16, true);
    header.setUint16(20, 1, true);
    header.setUint16(22, 1, true);
    header.setUint32(24, this.rate, true);
    header.setUint32(28, 2 * this.rate, true);
    header.setUint16(32, 2, true);
    header.setUint16(34, 16, true);
    text(36, "data");
    header.setUint32(40, bytes, true);
    return new Blob([header, ...this.blobs, ...this.pieces], { type: "audio/wav" });
  }
}
