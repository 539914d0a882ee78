/**
 * Subtitles (.srt) of words with times, divided as `ds2 transcribe` divides them: the division into cues of least cost.
 * ds2cli/captions/cues.py explains the costs. Unlike there, a word is never divided.
 */

const LINE = 42;
const LINES = 2;
const SPEED = 20;
const LONGEST = 7;
const SHORTEST = 1;
const PAUSE = 0.6;
const FULL_PAUSE = 0.5;
const LEAD_OUT = 0.4;
const SENTENCE_END = /[.?!…。？！]$/;
const CLAUSE_END = /[,;:—、，；：]$/;
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/;

/** A file of words [{word, start, end}]; duration: of the recording (s), if known. */
export function formatSrt(words, duration) {
  const tokens = words.map(({ word, start, end }) => ({ word, start, end, width: width(word) }));
  const cues = separate(divide(tokens).map((part) => timed(part, duration)));
  return cues.map(({ start, end, text }, i) => `${i + 1}\n${time(start)} --> ${time(end)}\n${text}\n\n`).join("");
}

const width = (text) => Array.from(text).reduce((sum, letter) => sum + (WIDE.test(letter) ? 2 : /\p{Mn}/u.test(letter) ? 0 : 1), 0);
const columns = (part) => part.reduce((sum, { width }) => sum + width + 1, 0);

function divide(tokens) {
  const least = [0, ...tokens.map(() => Infinity)];
  const previous = tokens.map(() => 0).concat(0);
  for (let begin = 0; begin < tokens.length; begin++) {
    let [lines, column, total, inner, spoken] = [1, 0, 0, 0, tokens[begin].end];
    for (let i = begin; i < tokens.length; i++) {
      const token = tokens[i];
      const space = Number(i > begin);
      if (space) inner += costWithin(tokens[i - 1], token);
      total += space + token.width;
      if (space && column + space + token.width > LINE) [lines, column] = [lines + 1, token.width];
      else column += space + token.width;
      spoken = Math.max(spoken, token.end);
      if (space && (lines > LINES || spoken - tokens[begin].start > LONGEST)) break;
      const cost = least[begin] + inner + costOf(tokens[begin], token, tokens[i + 1], total);
      if (cost < least[i + 1]) [least[i + 1], previous[i + 1]] = [cost, begin];
    }
  }
  const parts = [];
  for (let end = tokens.length; end; end = previous[end]) parts.unshift(tokens.slice(previous[end], end));
  return parts;
}

function costWithin(before, after) {
  const pause = Math.max(0, after.start - before.end) / PAUSE;
  return pause ** 2 + (SENTENCE_END.test(before.word) ? 0.5 : 0);
}

function costOf(first, last, following, total) {
  let cost = 1 + 0.3 * Math.max(0, 1 - total / (LINE * LINES)) ** 2;
  if (!following) return cost;
  const room = Math.min(following.start - first.start, LONGEST);
  cost += 2 * Math.max(0, total / SPEED - room) + 3 * Math.max(0, SHORTEST - room);
  if (SENTENCE_END.test(last.word)) return cost;
  const abrupt = Math.max(0, 1 - Math.max(0, following.start - last.end) / FULL_PAUSE);
  return cost + abrupt * (CLAUSE_END.test(last.word) ? 1 : 2);
}

function timed(part, duration) {
  const start = part[0].start;
  const spoken = Math.max(...part.map(({ end }) => end));
  let shown = Math.max(spoken + LEAD_OUT, start + Math.max(SHORTEST, columns(part) / SPEED));
  if (duration !== undefined) shown = Math.max(spoken, Math.min(shown, duration));
  const end = Math.min(shown, start + LONGEST);
  return { start: milliseconds(start), end: milliseconds(end), text: breakLines(part) };
}

/** In order, and none overlaps the next one. */
function separate(cues) {
  const found = [];
  for (const { start: begin, end, text } of cues) {
    const before = found.at(-1);
    const start = Math.max(begin, before ? before.start + 1 : 0);
    if (before && before.end > start) before.end = start;
    found.push({ start, end: Math.max(end, start + 1), text });
  }
  return found;
}

/** As few lines as possible, as even as possible. */
function breakLines(part) {
  const least = [{ lines: 0, squares: 0, begin: 0 }];
  for (let end = 1; end <= part.length; end++) {
    let [total, best] = [0, null];
    for (let begin = end - 1; begin >= 0; begin--) {
      total += part[begin].width + Number(begin + 1 < end);
      if (total > LINE && begin < end - 1) break;
      const lines = least[begin].lines + 1;
      const squares = least[begin].squares + total ** 2;
      if (!best || lines < best.lines || (lines === best.lines && squares < best.squares)) best = { lines, squares, begin };
    }
    least.push(best);
  }
  const found = [];
  for (let end = part.length; end; end = least[end].begin) {
    found.unshift(part.slice(least[end].begin, end).map(({ word }) => word).join(" "));
  }
  return found.join("\n").replaceAll("-->", "->");
}

const milliseconds = (seconds) => Math.round(1000 * seconds);

function time(ms) {
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  return `${two(ms / 3_600_000)}:${two((ms / 60_000) % 60)}:${two((ms / 1000) % 60)},${String(ms % 1000).padStart(3, "0")}`;
}
