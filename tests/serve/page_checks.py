"""What a page must have for people who see little, or use no mouse: checked in the browser, on what is shown."""

NAMES = """() => [
  ...document.querySelectorAll("button, input, select, audio, progress, [role=meter], [role=group], section, article"),
]
  .filter((e) => e.checkVisibility() && e.type !== "file")
  .filter((e) => {
    const ids = (e.getAttribute("aria-labelledby") ?? "").split(" ").filter(Boolean);
    const named = ids.map((id) => document.getElementById(id)?.textContent.trim()).join("");
    const labels = [...(e.labels ?? [])].map((label) => label.textContent.trim()).join("");
    const own = e.tagName === "BUTTON" ? e.textContent.trim() : "";
    return !(named || labels || own || e.getAttribute("aria-label"));
  })
  .map((e) => e.outerHTML.slice(0, 100))"""
"""Elements without a name for screen readers."""

STRUCTURE = """() => {
  const faults = [];
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  if (new Set(ids).size !== ids.length) faults.push("an id occurs twice");
  if (!document.documentElement.lang) faults.push("no lang");
  for (const tag of ["header", "main", "footer", "h1"]) {
    if (document.querySelectorAll(`body > ${tag}, header > ${tag}`).length !== 1) faults.push(`not one ${tag}`);
  }
  let before = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3")) {
    const level = Number(heading.tagName[1]);
    if (level > before + 1) faults.push(`${heading.textContent}: h${level} after h${before}`);
    before = level;
  }
  for (const e of document.querySelectorAll("[tabindex]")) if (e.tabIndex > 0) faults.push("a tabindex above 0");
  return faults;
}"""

CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const luminance = ([r, g, b]) => {
    const linear = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const paper = (e) => {
    for (; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if (rgba(color)[3] === 255) return color;
    }
    return "white";
  };
  const faults = [];
  let checked = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    const isDisabled = e.closest(":disabled, [aria-disabled=true]");
    if (!walker.currentNode.data.trim() || !e.checkVisibility() || isDisabled || e.closest(".announcer")) continue;
    const [a, b] = [getComputedStyle(e).color, paper(e)].map((color) => luminance(rgba(color)));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    checked++;
    if (ratio < 4.5) faults.push(`${walker.currentNode.data.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return checked < 5 ? ["hardly any text was found"] : faults;
}"""
"""Texts whose contrast with what is behind them is below 4.5:1 (WCAG 2.2, 1.4.3)."""

TOO_WIDE = """() => {
  const { scrollWidth, clientWidth } = document.documentElement;
  if (scrollWidth <= clientWidth) return [];
  return [...document.querySelectorAll("body *")]
    .filter((e) => e.getBoundingClientRect().right > clientWidth + 0.5)
    .map((e) => `${e.tagName} ${e.className} ${e.getBoundingClientRect().right} of ${clientWidth}`)
    .concat("it scrolls");
}"""
"""What makes the page scroll sideways."""


def find_faults(page):
    """All faults of a page as it is now."""
    return [fault for check in (NAMES, STRUCTURE, CONTRAST, TOO_WIDE) for fault in page.evaluate(check)]
