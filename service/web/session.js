// Who is signed in, and the dialogs around it.

import { call } from "./api.js";
import { el } from "./dom.js";
import * as history from "./history.js";
import { t } from "./language.js";

const dialog = document.getElementById("dialog");

/** Who calls, as /v1/me tells; null where a key is needed first. */
export async function whoCalls() {
  try {
    return await call("GET", "v1/me");
  } catch (error) {
    if (error.status === 401) return null;
    throw error;
  }
}

export function showDialog(title, ...content) {
  document.getElementById("dialog-title").textContent = title;
  document.getElementById("dialog-body").replaceChildren(...content.filter(Boolean));
  if (!dialog.open) dialog.showModal();
}

export const closeDialog = () => dialog.close();
document.getElementById("dialog-close").addEventListener("click", closeDialog);

/** Ask for a key; then: what to do once it is accepted; why: what made it necessary. */
export function showSignIn(then, why = "") {
  const key = el("input", { id: "api-key", type: "password", autocomplete: "off", spellcheck: "false", required: true, maxlength: 3500 });
  const problem = el("p", { class: "bad", role: "alert" });
  const send = async (event) => {
    event.preventDefault();
    problem.textContent = "";
    try {
      await call("POST", "v1/session", { key: key.value.trim() });
    } catch (error) {
      problem.textContent = [401, 422].includes(error.status) ? t("signInFailed") : error.message || t("offline");
      key.select();
      return;
    }
    closeDialog();
    await then();
  };
  showDialog(
    t("signInTitle"),
    el("form", { class: "sign-in", onsubmit: send }, why ? el("p", { class: "note" }, why) : null, el("p", {}, t("signInNote")), el("label", { for: "api-key" }, t("apiKey")), key, problem, el("button", { type: "submit" }, t("signIn"))),
  );
  key.focus();
}

/** The dialog of one who is signed in; then: what to do once they are not. */
export function showAccount(me, then) {
  const signOut = async (forget) => {
    if (forget) await history.clear();
    await call("DELETE", "v1/session");
    closeDialog();
    await then();
  };
  showDialog(
    t("signedInAs", me.name),
    el("div", { class: "buttons" }, el("button", { type: "button", onclick: () => signOut(false) }, t("signOut")), el("button", { type: "button", class: "plain", onclick: () => signOut(true) }, t("signOutForget"))),
  );
}
