// What is kept in this browser. Where it refuses (a private window, a full disk), things are kept
// until the page is closed.

// servers below paths of one host share what its pages keep, and must not take each other's
const FOLDER = new URL(".", document.baseURI);
const PREFIX = FOLDER.protocol === "file:" || FOLDER.pathname === "/" ? "prefloop." : `prefloop${FOLDER.pathname}.`;

class Kept {
  #storage;
  #fallback = new Map();

  constructor(open) {
    try {
      this.#storage = open();
      this.#storage.setItem(`${PREFIX}test`, "1");
      this.#storage.removeItem(`${PREFIX}test`);
    } catch {
      this.#storage = null;
    }
  }

  /** What was written under a key; `otherwise` where there is nothing that can be read. */
  read(key, otherwise = null) {
    if (this.#fallback.has(key)) return JSON.parse(this.#fallback.get(key));
    try {
      return parsed(this.#storage?.getItem(PREFIX + key) ?? null, otherwise);
    } catch {
      return otherwise; // the browser has changed its mind
    }
  }

  /** Writes a value; false where it will not outlive the page. */
  write(key, value) {
    const text = JSON.stringify(value);
    try {
      this.#storage.setItem(PREFIX + key, text);
      this.#fallback.delete(key);
      return true;
    } catch {
      this.#fallback.set(key, text);
      return false;
    }
  }

  remove(key) {
    this.#fallback.delete(key);
    try {
      this.#storage?.removeItem(PREFIX + key);
    } catch {
      // then it was never kept
    }
  }

  /** The keys that begin so. */
  keys(start) {
    const all = new Set(this.#fallback.keys());
    for (let i = 0; i < (this.#storage?.length ?? 0); i++) {
      const key = this.#storage.key(i);
      if (key.startsWith(PREFIX)) all.add(key.slice(PREFIX.length));
    }
    return [...all].filter((key) => key.startsWith(start));
  }
}

/** In this browser, for every tab, until it is removed. */
export const browser = new Kept(() => window.localStorage);

/** In this tab, until it is closed. */
export const tab = new Kept(() => window.sessionStorage);

/** Calls `act(key, value)` when another tab writes to `browser`; the value is null where it is removed. */
export function whenOthersWrite(act) {
  window.addEventListener("storage", ({ key, newValue }) => {
    if (key?.startsWith(PREFIX)) act(key.slice(PREFIX.length), parsed(newValue, null));
  });
}

function parsed(text, otherwise) {
  try {
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}
