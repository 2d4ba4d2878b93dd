// What a screen reader is told of a panel that changes while the reader types: only what is new, and
// only when the typing pauses. What a panel says first is found by reading it, so it is not told.
import { say } from "./parts.js";

const PAUSE = 800; // milliseconds
const told = {};
let fresh = {}, waiting;

export function announce(key, text) {
  told[key] ??= text;
  fresh[key] = text;
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    const news = Object.keys(fresh).filter((key) => fresh[key] !== told[key]);
    if (news.length) say("news", news.map((key) => fresh[key]).join(" "));
    Object.assign(told, fresh);
    fresh = {};
  }, PAUSE);
}
