// The demo page: both halves of a conversation, and the wire between them.

import { siteTokenFromAddress } from "./identity.js";
import { Operator } from "./operator.js";
import { Visitor } from "./visitor.js";
import { Wire } from "./wire.js";

const halves = ["visitor", "operator"].map((name) => ({
  name,
  pane: document.getElementById(name),
  tab: document.getElementById(`tab-${name}`),
}));
const wire = new Wire(document.querySelector(".wire"));

/** On a narrow page one half is shown at a time; a wide one shows both, whatever is chosen. */
function choose(chosen) {
  for (const { name, pane, tab } of halves) {
    const isChosen = name === chosen;
    pane.toggleAttribute("data-shown", isChosen);
    tab.setAttribute("aria-selected", String(isChosen));
    tab.tabIndex = isChosen ? 0 : -1;
    if (isChosen) tab.querySelector(".tab-news").hidden = true;
  }
}

/** Marks the tab of a half that nobody sees. */
function announceOn(name) {
  const { pane, tab } = halves.find((half) => half.name === name);
  tab.querySelector(".tab-news").hidden = pane.hasAttribute("data-shown");
}

for (const [index, { name, tab }] of halves.entries()) {
  tab.addEventListener("click", () => choose(name));
  tab.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const other = halves[1 - index];
    choose(other.name);
    other.tab.focus();
  });
}

const visitor = new Visitor(document.getElementById("visitor"), {
  onFrame: (frame) => wire.take("visitor", frame),
  onNews: () => announceOn("visitor"),
});
const operator = new Operator(document.getElementById("operator"), {
  onFrame: (frame) => wire.take("operator", frame),
  onNews: () => announceOn("operator"),
});

document.querySelector(".token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = event.target.elements.site_token.value.trim();
  const fragment = `#${new URLSearchParams({ site_token: token })}`;
  // The same fragment again is no change to the browser, so the visitor enters from here.
  if (location.hash === fragment) visitor.enter(token);
  else location.hash = fragment;
});
addEventListener("hashchange", () => visitor.enter(siteTokenFromAddress()));

visitor.enter(siteTokenFromAddress());
operator.begin();
