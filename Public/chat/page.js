// What the frame shows, in the reader's language. Text enters the page as text only, never as markup.

const english = {
  title: "Chat with us", log: "Messages", field: "Your message", hint: "Write a message…", send: "Send",
  empty: "Ask us anything. The answer comes here.", assistant: "Assistant", manager: "Operator",
  connecting: "Connecting…", live: "Connected", lost: "Connection lost. Trying again…",
  closed: "This conversation was closed. Your next message begins a new one.", unavailable: "This chat is not available.",
  away: "We cannot be reached at the moment.",
  sending: "Sending…", waiting: "Not sent yet. Trying again…", failed: "Not sent.", again: "Try again",
};
const russian = {
  title: "Напишите нам", log: "Сообщения", field: "Ваше сообщение", hint: "Напишите сообщение…", send: "Отправить",
  empty: "Задайте вопрос. Ответ придёт сюда.", assistant: "Ассистент", manager: "Оператор",
  connecting: "Подключаемся…", live: "На связи", lost: "Связь прервалась. Пробуем снова…",
  closed: "Диалог закрыт. Следующее сообщение начнёт новый.", unavailable: "Этот чат недоступен.",
  away: "Сейчас с нами не связаться.",
  sending: "Отправляется…", waiting: "Пока не отправлено. Пробуем снова…", failed: "Не отправлено.", again: "Повторить",
};
const isRussian = /^ru\b/i.test(navigator.language);
const words = isRussian ? russian : english;
const clock = new Intl.DateTimeFormat(navigator.language, { hour: "2-digit", minute: "2-digit" });

/** How near to its end the log counts as being read to the end, in pixels. */
const NEAR = 48;

const part = (id) => document.getElementById(id);
/** The row of a stored message by its id, of one of our own by its key. */
const row = (name, value) => document.querySelector(`#messages > [data-${name}="${CSS.escape(value)}"]`);

/** Puts the words in their places and takes what is written. @param {(text: string) => void} onSend */
export function prepare(onSend) {
  document.documentElement.lang = isRussian ? "ru" : "en";
  document.title = part("title").textContent = words.title;
  part("log").ariaLabel = words.log;
  part("empty").textContent = words.empty;
  part("send").ariaLabel = part("send").title = words.send;
  part("field").ariaLabel = words.field;
  part("field").placeholder = words.hint;
  part("field").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    part("composer").requestSubmit();
  });
  part("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = part("field").value.trim();
    if (!text) return;
    part("field").value = "";
    onSend(text);
    part("field").focus();
  });
}

/** How the connection is. @param {"connecting"|"live"|"lost"} state */
export function connection(state) {
  part("connection").dataset.state = state;
  if (part("connection").textContent !== words[state]) part("connection").textContent = words[state];
}

/** A sentence above the field, with a way out of it or none. @param {"closed"|"away"|null} what */
export function notice(what, onAgain) {
  part("notice").hidden = !what;
  part("notice").replaceChildren(words[what] ?? "", ...(onAgain ? [" ", button(onAgain)] : []));
}

/** Nothing more can be written or read here. */
export function end() {
  notice("unavailable");
  part("connection").textContent = "";
  part("empty").hidden = part("field").disabled = part("send").disabled = true;
}

/** Forgets the stored messages; what is on its way stays. */
export function clear() {
  for (const node of document.querySelectorAll("#messages > [data-id]")) node.remove();
}

/** Shows a stored message once, in its place; a bubble on its way becomes it. `isNews` tells it to who cannot see it. */
export function put(message, isNews = false) {
  const isMine = message.sender === "user";
  // Our own keys only: the other side sees them too.
  const key = (isMine && message.client_message_id) || "";
  const known = row("id", message.id);
  const node = known || (key && row("key", key)) || element("li");
  const speaker = isMine ? "" : message.author?.name || words[message.sender] || "";
  const time = element("time", "meta", clock.format(new Date(message.timestamp)));
  time.dateTime = message.timestamp;
  settle(() => {
    node.className = isMine ? "mine" : message.sender;
    Object.assign(node.dataset, { id: message.id, key });
    node.replaceChildren(...(speaker ? [element("span", "speaker", speaker)] : []), bubble(message.text), time);
    if (known) return;
    const after = [...part("messages").children].find((other) => other !== node && !(other.dataset.id < message.id)) ?? null;
    if (!node.isConnected || node.nextElementSibling !== after) part("messages").insertBefore(node, after);
  });
  if (isNews && !known && !isMine) part("announcer").textContent = `${speaker}: ${message.text}`;
}

/** Shows a message on its way. @param {"sending"|"waiting"|"failed"} state */
export function putPending({ key, text }, state, onAgain) {
  const node = row("key", key) ?? element("li");
  // The stream was quicker than the answer.
  if (node.dataset.id) return;
  settle(() => {
    if (!node.isConnected) part("messages").append(node);
    node.dataset.key = key;
    node.className = `mine pending ${state}`;
    const meta = element("span", "meta", words[state]);
    if (onAgain) meta.append(" ", button(onAgain));
    node.replaceChildren(bubble(text), meta);
  });
  if (state === "failed") part("announcer").textContent = words.failed;
}

/** Changes the log and keeps who reads its end at its end. */
function settle(change) {
  const log = part("log");
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
  change();
  part("empty").hidden = part("messages").childElementCount > 0;
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}

/** The log is complete, even if nothing is in it. */
export const settled = () => settle(() => {});

function element(tag, className = "", text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function bubble(text) {
  const node = element("p", "bubble", text);
  // Each by its own first strong letter, whatever the page's direction.
  node.dir = "auto";
  return node;
}

function button(action) {
  const node = element("button", "link", words.again);
  node.type = "button";
  node.addEventListener("click", action);
  return node;
}
