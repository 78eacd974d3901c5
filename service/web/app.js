// Starts the page: language and colours, who calls, and the two views.

import * as asking from "./ask.js";
import { showConversations } from "./conversations.js";
import { byId, el } from "./dom.js";
import * as history from "./history.js";
import { language, LANGUAGES, setLanguage, startLanguage, t } from "./language.js";
import * as operate from "./operate.js";
import { drawOptions } from "./options.js";
import { closePanel } from "./panel.js";
import { showAccount, showSignIn, whoCalls } from "./session.js";

/** @import { Caller } from "./types.js" */

const THEME = "citewell-theme";
/** @type {Caller | null} */
let me = null;

async function knowCaller() {
  let problem = "";
  try {
    me = await whoCalls();
    if (!me) problem = t("signInFirst");
  } catch (error) {
    problem = (error instanceof Error && error.message) || t("offline");
  }
  history.openFor(me ? (me.authenticated ? me.name : "open") : "");
  asking.setCaller(me, signIn);
  drawOptions(me);
  byId("account").hidden = Boolean(me && !me.authenticated);
  byId("account").textContent = me ? me.name : t("signIn");
  byId("to-operate").hidden = !mayOperate();
  byId("conversation-note").hidden = !problem;
  byId("conversation-note").textContent = problem;
  show();
}

const mayOperate = () => Boolean(me?.scopes.some((scope) => scope !== "ask"));

/**
 * @param {string} why shown above the form
 * @param {() => unknown} then what to do beside knowing who it is
 */
function signIn(why = "", then = () => {}) {
  showSignIn(async () => {
    await knowCaller();
    await then();
  }, why);
}

function signedOut() {
  me = null;
  asking.newConversation();
  return knowCaller();
}

/** The view that the address names. */
function show() {
  const operating = location.hash === "#/operate" && mayOperate();
  byId("operate-view").hidden = !operating;
  byId("ask-view").hidden = operating;
  mark("to-operate", operating);
  mark("to-ask", !operating);
  document.title = operating ? `Citewell · ${t("operate")}` : "Citewell";
  closePanel();
  if (operating) operate.start();
  else operate.stop();
}

function mark(/** @type {string} */ id, /** @type {boolean} */ here) {
  if (here) byId(id).setAttribute("aria-current", "page");
  else byId(id).removeAttribute("aria-current");
}

function colours(/** @type {string} */ theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  localStorage.setItem(THEME, theme);
}

startLanguage();
const choices = Object.entries(LANGUAGES).map(([code, name]) =>
  el("option", { value: code, lang: code, selected: code === language }, name),
);
byId("language").replaceChildren(...choices);
byId("theme").value = localStorage.getItem(THEME) ?? "auto";
colours(byId("theme").value);

byId("language").addEventListener("change", () => {
  setLanguage(byId("language").value);
  asking.redraw();
  knowCaller();
});
byId("theme").addEventListener("change", () => colours(byId("theme").value));
byId("new").addEventListener("click", () => {
  location.hash = "#/ask";
  asking.newConversation();
});
byId("to-history").addEventListener("click", () =>
  showConversations((conversation) => {
    location.hash = "#/ask";
    asking.open(conversation);
  }),
);
byId("account").addEventListener("click", () => (me ? showAccount(me, signedOut) : signIn()));
byId("panel-close").addEventListener("click", closePanel);
addEventListener("hashchange", show);
addEventListener("keydown", (event) => {
  const typing = event.target instanceof Element && event.target.matches("input, textarea, select");
  if (event.key === "Escape" && !byId("dialog").open && !closePanel()) asking.stop();
  if (event.key === "/" && !typing && !byId("dialog").open && !byId("ask-view").hidden) {
    event.preventDefault();
    byId("question").focus();
  }
});

await knowCaller();
document.documentElement.dataset.ready = String(Math.round(performance.now())); // ms after the navigation began
