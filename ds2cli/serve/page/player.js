/** Words that can be played: by mouse, by keyboard, and marked while they are spoken. */

/** All players of the page: only one plays at a time. */
const players = new Set();

export class Player {
  /** box: holds the words.  words: [{start, end, element}], in order.  audio: the element that plays the recording. */
  constructor(box, words, audio) {
    Object.assign(this, { box, words, audio, spoken: -1, focused: 0 });
    this.stops = new AbortController();
    const listen = (target, type, act) => target.addEventListener(type, act, { signal: this.stops.signal });
    words.forEach(({ element }, i) => {
      element.setAttribute("role", "button");
      element.tabIndex = i ? -1 : 0;
      element.dataset.index = i;
    });
    listen(box, "click", (event) => this.playFrom(this.indexOf(event)));
    listen(box, "keydown", (event) => this.press(event));
    listen(audio, "play", () => {
      players.forEach((other) => other === this || other.audio.pause());
      this.follow();
    });
    listen(audio, "seeked", () => this.mark());
    listen(audio, "ended", () => this.mark());
    players.add(this);
  }

  close() {
    this.audio.pause();
    this.stops.abort();
    players.delete(this);
  }

  indexOf(event) {
    const word = event.target.closest("[data-index]");
    return word ? Number(word.dataset.index) : -1;
  }

  playFrom(i) {
    if (i < 0) return;
    this.focus(i, false);
    this.audio.currentTime = this.words[i].start;
    // a format that this browser does not know is reported by the element
    this.audio.play().catch(() => {});
  }

  /** The arrows move between words, so that the whole text is one stop of the Tab key. */
  press(event) {
    const i = this.indexOf(event);
    if (i < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const forward = getComputedStyle(event.target).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
    const steps = { ArrowLeft: -1, ArrowRight: -1, [forward]: 1, Home: -this.words.length, End: this.words.length };
    if (event.key === "Enter" || event.key === " ") this.playFrom(i);
    else if (event.key in steps) this.focus(Math.min(Math.max(i + steps[event.key], 0), this.words.length - 1), true);
    else return;
    event.preventDefault();
  }

  focus(i, move) {
    this.words[this.focused].element.tabIndex = -1;
    this.words[i].element.tabIndex = 0;
    this.focused = i;
    if (move) this.words[i].element.focus();
  }

  follow() {
    this.mark();
    if (!this.audio.paused && !this.audio.ended) requestAnimationFrame(() => this.follow());
  }

  /** Mark the last word that has begun, while it lasts. */
  mark() {
    const now = this.audio.currentTime;
    let [low, high] = [0, this.words.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.words[middle].start <= now + 0.01) low = middle + 1;
      else high = middle;
    }
    const found = low - 1;
    const isSpoken = found >= 0 && !this.audio.ended && now < this.words[found].end + 0.3;
    const next = isSpoken ? found : -1;
    if (next === this.spoken) return;
    this.words[this.spoken]?.element.removeAttribute("aria-current");
    this.words[next]?.element.setAttribute("aria-current", "true");
    this.spoken = next;
  }
}
