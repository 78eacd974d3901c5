// Who is signed in, and the dialogs around it.

import { call, Problem } from "./api.js";
import { button, byId, el } from "./dom.js";
import * as history from "./history.js";
import { t } from "./language.js";

/** @import { Child } from "./dom.js" */
/** @import { Caller } from "./types.js" */

const dialog = byId("dialog");

/**
 * Who calls, as /v1/me tells; null where a key is needed first.
 * @returns {Promise<Caller | null>}
 */
export async function whoCalls() {
  try {
    return await call("GET", "v1/me");
  } catch (error) {
    if (error instanceof Problem && error.status === 401) return null;
    throw error;
  }
}

/**
 * @param {string} title
 * @param {Child[]} content
 */
export function showDialog(title, ...content) {
  byId("dialog-title").textContent = title;
  byId("dialog-body").replaceChildren(
    ...content.filter((child) => child !== null && child !== undefined && child !== false),
  );
  if (!dialog.open) dialog.showModal();
}

export const closeDialog = () => dialog.close();
byId("dialog-close").addEventListener("click", closeDialog);

/**
 * Ask for a key.
 * @param {() => unknown} then what to do once it is accepted
 * @param {string} why what made it necessary
 */
export function showSignIn(then, why = "") {
  const key = el("input", {
    id: "api-key",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    maxlength: 3500,
  });
  const problem = el("p", { class: "bad", role: "alert" });
  const send = async (/** @type {Event} */ event) => {
    event.preventDefault();
    problem.textContent = "";
    try {
      await call("POST", "v1/session", { key: key.value.trim() });
    } catch (error) {
      problem.textContent = whyNot(error);
      key.select();
      return;
    }
    closeDialog();
    await then();
  };
  const form = el(
    "form",
    { class: "sign-in", onsubmit: send },
    why && el("p", { class: "note" }, why),
    el("p", {}, t("signInNote")),
    el("label", { for: "api-key" }, t("apiKey")),
    key,
    problem,
    el("button", { type: "submit" }, t("signIn")),
  );
  showDialog(t("signInTitle"), form);
  key.focus();
}

function whyNot(/** @type {unknown} */ error) {
  if (error instanceof Problem && [401, 422].includes(error.status)) return t("signInFailed");
  return (error instanceof Error && error.message) || t("offline");
}

/**
 * The dialog of one who is signed in.
 * @param {Caller} me
 * @param {() => unknown} then what to do once they are not
 */
export function showAccount(me, then) {
  const signOut = async (/** @type {boolean} */ forget) => {
    if (forget) await history.clear();
    await call("DELETE", "v1/session");
    closeDialog();
    await then();
  };
  const ways = [
    button("", () => signOut(false), t("signOut")),
    button("plain", () => signOut(true), t("signOutForget")),
  ];
  showDialog(t("signedInAs", me.name), el("div", { class: "buttons" }, ways));
}
