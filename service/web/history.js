// Conversations, kept in this browser's IndexedDB: of each key apart.

import * as idb from "./vendor/idb-keyval.js";

const MOST = 200;
let store = null;

/** owner: whose conversations are kept here; "" of nobody who is known: then nothing is kept, and nothing is shown. */
export function openFor(owner) {
  store = owner ? idb.createStore(`citewell-${owner}`, "conversations") : null;
}

/** Newest first. None where the browser keeps nothing (private windows). */
export async function list() {
  if (!store) return [];
  try {
    return (await idb.values(store)).sort((one, other) => other.at - one.at);
  } catch {
    return [];
  }
}

/** Whether the conversation could be kept. */
export async function save(conversation) {
  if (!store) return true; // there is nobody whose it would be
  try {
    await idb.set(conversation.id, conversation, store);
    const surplus = (await list()).slice(MOST);
    if (surplus.length) await idb.delMany(surplus.map((each) => each.id), store);
    return true;
  } catch {
    return false;
  }
}

export const remove = (id) => store && idb.del(id, store);
export const clear = () => store && idb.clear(store);
