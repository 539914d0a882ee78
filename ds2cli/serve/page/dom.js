/** Elements and messages. */

/** An element with properties (`class`, `text`, `data-*`, attributes, `on…` listeners) and children. */
export function make(tag, properties = {}, children = []) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** The element of the page with this id. */
export const byId = (id) => document.getElementById(id);

/** Show a text in an element that is hidden without one. */
export function show(element, text) {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = !text;
}

/** A time of a recording (s) as 0:07 or 1:02:07. */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = String(whole % 60).padStart(2, "0");
  return whole < 3600 ? `${minutes}:${rest}` : `${Math.floor(whole / 3600)}:${String(minutes).padStart(2, "0")}:${rest}`;
}

/** Let screen readers say a text when they have time for it. */
export function announce(text) {
  byId("announcer").append(make("p", { text }));
  while (byId("announcer").childElementCount > 20) byId("announcer").firstChild.remove();
}

/** Offer a file to be saved. */
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
