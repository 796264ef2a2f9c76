// One session on the server: a WebSocket that is opened with the first question, and asked one at a time.
//
// Out: replies as the text that came, since numbers beyond 2^53 do not survive JavaScript's JSON.

const WORDS = {
  CAPACITY_REACHED: (data) =>
    `The server is full: sessions taken: ${data.active_sessions} of ${data.max_sessions}. Press Reset once ` +
    "somebody has ended theirs. MAX_CONCURRENT_ENVS is the limit; above 1 it needs an environment whose class " +
    "says SUPPORTS_CONCURRENT_SESSIONS = True.",
  FACTORY_ERROR: (data) =>
    `The environment could not be made: ${data.factory_name ?? "its constructor"} raised` +
    `${data.exception ? ` ${data.exception}` : ""}. The server's log says why. Press Reset to try again.`,
  EXECUTION_ERROR: (data, what) =>
    data.exception === "StepTimeoutError"
      ? "The environment did not answer in time. Press Reset to get a new one."
      : `The environment raised ${data.exception ?? "an error"} in ${what}: ${data.message || "no message"}. ` +
        "The session goes on: try something else, or press Reset.",
  VALIDATION_ERROR: () => "That does not fit, so nothing was run. See the fields marked below.",
  SESSION_ERROR: (data) => `The session cannot go on: ${data.message}. Press Reset.`,
};

const KEPT = "What was played stays here, and can be downloaded.";
const CLOSED = {
  1000: "The session has ended. Press Reset to open another.",
  1001: `The server is shutting down or starting anew. ${KEPT} Press Reset in a moment.`,
  1009: "That message is too large for the server. Press Reset to open a new session.",
};
// Replies after which the server hangs up: they say more than the close does.
const LAST_WORDS = new Set(["CAPACITY_REACHED", "FACTORY_ERROR", "SESSION_ERROR"]);
const UNREACHABLE = "The server cannot be reached. Once it runs, press Reset.";
const LOST = `The connection is lost, and with it the session. ${KEPT} Press Reset once the server can be reached.`;

/** What went wrong, in words for whoever plays. */
export class Refused extends Error {
  constructor(message, data = {}) {
    super(message);
    this.errors = data.errors ?? [];
    this.code = data.code;
    this.traceback = data.traceback;
  }
}

/** The secret that the server wants, if it wants one. It is kept nowhere but here. */
export const access = { token: "" };

/** The address of `/ws` beside the page, whatever prefix both are under. */
export function socketAddress() {
  const url = new URL("ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.search = url.hash = "";
  return url.href;
}

export class Session {
  #socket = null;
  #waiting = null;
  #farewell = null;

  /** @param {(isOpen: boolean, why: string | null) => void} onChange  Told when the session begins and ends. */
  constructor(onChange) {
    this.onChange = onChange;
  }

  get isOpen() {
    return this.#socket !== null;
  }

  /**
   * Send one message and give the text of its reply. Wait for it before the next.
   * @param {string} text  The message, as JSON.
   * @param {string} what  What it asks for, for people: "step".
   * @throws {Refused} The reply is an error, or there is none.
   */
  async ask(text, what) {
    const reply = await new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      if (this.#socket) this.#socket.send(text);
      else this.#open(text);
    });
    const { type, data } = JSON.parse(reply);
    if (type !== "error") return reply;
    const inWords = WORDS[data.code]?.(data, what) ?? data.message;
    throw new Refused(inWords, data);
  }

  /** End the session, so that somebody else can have its place. */
  close() {
    const socket = this.#socket;
    this.#ended(CLOSED[1000]);
    if (socket?.readyState === WebSocket.OPEN) socket.send('{"type":"close"}');
    socket?.close();
  }

  #open(first) {
    // A browser's WebSocket can say a token nowhere else: RFC 6455 section 1.9.
    const code = btoa(access.token).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    const socket = new WebSocket(socketAddress(), access.token ? ["openenv", `openenv.token.${code}`] : []);
    this.#socket = socket;
    this.#farewell = null;
    let wasOpen = false;
    socket.onopen = () => {
      wasOpen = true;
      socket.send(first);
      if (socket === this.#socket) this.onChange(true, null);
    };
    socket.onmessage = ({ data }) => socket === this.#socket && this.#answered(data);
    socket.onclose = ({ code }) => socket === this.#socket && this.#ended(CLOSED[code] ?? (wasOpen ? LOST : UNREACHABLE));
  }

  #answered(reply) {
    const { type, data } = JSON.parse(reply);
    const isLast = type === "error" && LAST_WORDS.has(data.code);
    this.#farewell = isLast ? WORDS[data.code](data) : null;
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.resolve(reply);
  }

  #ended(why) {
    const waiting = this.#waiting;
    const said = this.#farewell ?? why;
    this.#socket = this.#waiting = this.#farewell = null;
    this.onChange(false, waiting ? null : said);
    waiting?.reject(new Refused(said));
  }
}
