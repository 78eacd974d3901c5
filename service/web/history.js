// Conversations, kept in this browser's IndexedDB: of each key apart.

import * as idb from "./vendor/idb-keyval.js";

const MOST = 200;
let store = null;

export function openFor(owner) {
  store = idb.createStore(`citewell-${owner}`, "conversations");
}

/** Newest first. None where the browser keeps nothing (private windows). */
export async function list() {
  try {
    return (await idb.values(store)).sort((one, other) => other.at - one.at);
  } catch {
    return [];
  }
}

/** Whether the conversation could be kept. */
export async function save(conversation) {
  try {
    await idb.set(conversation.id, conversation, store);
    const surplus = (await list()).slice(MOST);
    if (surplus.length) await idb.delMany(surplus.map((each) => each.id), store);
    return true;
  } catch {
    return false;
  }
}

export const remove = (id) => idb.del(id, store);
export const clear = () => idb.clear(store);
