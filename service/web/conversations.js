// The dialog of the conversations that this browser keeps: open, delete, export, delete all.

import { download, el, visible } from "./dom.js";
import * as history from "./history.js";
import { t, time } from "./language.js";
import { closeDialog, showDialog } from "./session.js";

/** open: what to do with a conversation that is chosen. */
export async function showConversations(open) {
  const kept = await history.list();
  const again = () => showConversations(open);
  const remove = async (conversation) => {
    if (!confirm(t("removeSure"))) return;
    await history.remove(conversation.id);
    await again();
  };
  const clear = async () => {
    if (!confirm(t("clearSure"))) return;
    await history.clear();
    await again();
  };
  const choose = (conversation) => {
    closeDialog();
    open(conversation);
  };
  showDialog(
    t("historyTitle"),
    el("p", { class: "quiet" }, t(kept.length ? "historyNote" : "historyEmpty")),
    el("ul", { class: "conversations" }, kept.map((conversation) => el(
      "li", {},
      el("button", { type: "button", class: "link", onclick: () => choose(conversation) }, el("bdi", {}, visible(conversation.title))),
      el("span", { class: "quiet small" }, ` ${time(conversation.at)} `),
      el("button", { type: "button", class: "plain small", "aria-label": `${t("remove")}: ${conversation.title}`, onclick: () => remove(conversation) }, t("remove")),
    ))),
    kept.length ? el("div", { class: "buttons" }, el("button", { type: "button", onclick: () => download("citewell-conversations.json", "application/json", JSON.stringify(kept, null, 1)) }, t("export")), el("button", { type: "button", class: "plain", onclick: clear }, t("clear"))) : null,
  );
}
