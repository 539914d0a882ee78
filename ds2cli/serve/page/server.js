/** The server of this page: addresses, the token, and its refusals in words. */

const KEY = "ds2-token";

/** Something that the server refused, or that failed; `message` is for people. */
export class Refused extends Error {
  /**
   * code: of the server, such as "overloaded", or "".  needsToken: whether a token, or another one, helps.
   * again: whether the same may work at another time.
   */
  constructor(message, { code = "", needsToken = false, again = true } = {}) {
    super(message);
    Object.assign(this, { code, needsToken, again });
  }
}

export const UNREACHABLE = "The server does not answer. Is it still running, and is this computer online?";

/** The address of a route; the page may be behind a proxy, in a folder. */
export function address(path, scheme = "") {
  const url = new URL(path, document.baseURI);
  if (scheme === "ws") url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

export const token = () => sessionStorage.getItem(KEY) ?? "";

/** Keep a token until the tab is closed. Refused if it cannot be one. */
export function keepToken(value) {
  const trimmed = value.trim();
  if (!/^[\x21-\x7e]+$/.test(trimmed)) throw new Refused("A token consists of letters, digits and signs, without spaces.");
  sessionStorage.setItem(KEY, trimmed);
}

/** Headers with the token, if there is one. */
export const headers = () => (token() ? { Authorization: `Bearer ${token()}` } : {});

/** WebSockets of browsers cannot send headers: the token is the name of a second subprotocol. */
export function subprotocols() {
  if (!token()) return ["ds2"];
  const encoded = btoa(token()).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return ["ds2", `token.${encoded}`];
}

/** What the server is: {model, language, sample_rate, …}. Refused if it does not say. */
export async function fetchInfo() {
  let response;
  try {
    response = await fetch(address("info"), { headers: headers(), cache: "no-store" });
  } catch {
    throw new Refused(UNREACHABLE);
  }
  if (!response.ok) throw refusal(response.status, await response.text(), response.headers.get("Retry-After"));
  return response.json();
}

/** The refusal that an answer of HTTP means: its own words, JSON or one line of text, or those for its status. */
export function refusal(status, body, retryAfter) {
  let error = {};
  try {
    const found = JSON.parse(body);
    error = typeof found.error === "object" ? found.error : found;
  } catch {
    // that of a proxy is a page of HTML
    if (!body.includes("<") && body.length < 400) error = { message: body };
  }
  if (status === 401) return unauthorized();
  const retry = Number(retryAfter) || 0;
  const fallback = {
    404: "The server does not offer this.",
    413: "The recording is larger than the server accepts.",
    429: "Too many requests came from this address.",
    503: "The server is overloaded.",
  };
  const said = sentence(typeof error.message === "string" ? error.message : "");
  const message = said || fallback[status] || `The server answered with the error ${status}.`;
  const again = status >= 500 || status === 408 || status === 429;
  return new Refused(withRetry(message, retry), { code: error.code ?? "", again });
}

/** A refusal of /stream: its message of the type "error". */
export function streamRefusal({ code, message, retry_s: retry = 0 }) {
  if (code === "unauthorized") return unauthorized();
  const said = sentence(message);
  const words = { idle: "The server received no sound for a while and ended the connection." };
  return new Refused(withRetry(words[code] ?? said, retry), { code });
}

function unauthorized() {
  const message = token() ? "The server does not accept this token." : "This server needs a token.";
  return new Refused(message, { code: "unauthorized", needsToken: true });
}

function sentence(text) {
  const trimmed = text.trim();
  if (!trimmed) return "";
  const upper = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(upper) ? upper : `${upper}.`;
}

/** With the time after which another try is worth it, instead of "later". */
function withRetry(message, seconds) {
  return seconds ? `${message.replace(/: try again later\.$/, ".")} Try again in ${seconds} s.` : message;
}
