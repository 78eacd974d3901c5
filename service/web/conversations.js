// The dialog of the conversations that this browser keeps: open, delete, export, delete all.

import { button, download, el, visible } from "./dom.js";
import * as history from "./history.js";
import { t, time } from "./language.js";
import { closeDialog, showDialog } from "./session.js";

/** @import { Conversation } from "./types.js" */

/**
 * open: what to do with a conversation that is chosen.
 * @param {(conversation: Conversation) => void} open
 */
export async function showConversations(open) {
  const kept = await history.list();
  const again = () => showConversations(open);
  const remove = async (/** @type {Conversation} */ conversation) => {
    if (!confirm(t("removeSure"))) return;
    await history.remove(conversation.id);
    await again();
  };
  const clear = async () => {
    if (!confirm(t("clearSure"))) return;
    await history.clear();
    await again();
  };
  const choose = (/** @type {Conversation} */ conversation) => {
    closeDialog();
    open(conversation);
  };
  const save = () => download("citewell-conversations.json", "application/json", JSON.stringify(kept, null, 1));
  const item = (/** @type {Conversation} */ conversation) => {
    const removes = { "aria-label": t("labelled", t("remove"), conversation.title) };
    return el(
      "li",
      {},
      button("link", () => choose(conversation), el("bdi", {}, visible(conversation.title))),
      el("span", { class: "quiet small" }, ` ${time(conversation.at)} `),
      button("plain small", () => remove(conversation), t("remove"), removes),
    );
  };
  showDialog(
    t("historyTitle"),
    el("p", { class: "quiet" }, t(kept.length ? "historyNote" : "historyEmpty")),
    el("ul", { class: "conversations" }, kept.map(item)),
    kept.length > 0 &&
      el("div", { class: "buttons" }, button("", save, t("export")), button("plain", clear, t("clear"))),
  );
}
