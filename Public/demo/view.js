// Small pieces that both halves are drawn with. Text enters the page as text only, never as markup.

const clockFormat = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dayFormat = new Intl.DateTimeFormat("en", { weekday: "long", day: "numeric", month: "long" });
const shortDayFormat = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });

/** An element with a class and text. */
export function element(tag, className = "", text = null) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== null) node.textContent = text;
  return node;
}

/** A `<time>` that shows hours and minutes of the reader's clock. @param {string|number} moment */
export function clock(moment) {
  const date = new Date(moment);
  const node = element("time", "", clockFormat.format(date));
  node.dateTime = date.toISOString();
  return node;
}

/** The clock for today, the day for older. @param {string} moment RFC 3339 */
export function briefTime(moment) {
  const date = new Date(moment);
  return date.toDateString() === new Date().toDateString() ? clockFormat.format(date) : shortDayFormat.format(date);
}

/** A day in words, such as “Today” or “Monday, 3 March”. @param {string|number} moment */
export function dayInWords(moment) {
  const date = new Date(moment);
  const today = new Date();
  if (date.toDateString() === today.toDateString()) return "Today";
  today.setDate(today.getDate() - 1);
  return date.toDateString() === today.toDateString() ? "Yesterday" : dayFormat.format(date);
}

/** Shows the state of a stream, and says it once to who cannot see it. */
export function showConnection(node, kind, words) {
  node.dataset.kind = kind;
  if (node.textContent !== words) node.textContent = words;
}

/**
 * Shows a gate (a small form that stands before a half) with the reason for it, and puts the cursor in it if the
 * reader was already in that half: a page that is just opening must not jump.
 */
export function openGate(form, why, half) {
  form.querySelector(".gate-why").textContent = why;
  const wasInside = half.contains(document.activeElement);
  form.hidden = false;
  if (!wasInside) return;
  const fields = [...form.querySelectorAll("input")];
  (fields.find((field) => !field.value) ?? fields[0]).focus();
}
