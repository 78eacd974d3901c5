// Conversations, kept in this browser's IndexedDB, apart for each key.

import * as idb from "./vendor/idb-keyval.js";

/** @import { Conversation } from "./types.js" */

const MOST = 200;
/** @type {idb.UseStore | null} */
let store = null;

/** owner: whose conversations are kept here; "" while nobody is known: then nothing is kept, and nothing is shown. */
export function openFor(/** @type {string} */ owner) {
  store = owner ? idb.createStore(`citewell-${owner}`, "conversations") : null;
}

/**
 * Newest first. None where the browser keeps nothing (private windows).
 * @returns {Promise<Conversation[]>}
 */
export async function list() {
  if (!store) return [];
  try {
    return newestFirst(await idb.values(store));
  } catch {
    return [];
  }
}

/** Whether the conversation could be kept. */
export async function save(/** @type {Conversation} */ conversation) {
  if (!store) return true; // there is nobody whose it would be
  try {
    await idb.set(conversation.id, conversation, store);
    const surplus = (await list()).slice(MOST);
    if (surplus.length)
      await idb.delMany(
        surplus.map((each) => each.id),
        store,
      );
    return true;
  } catch {
    return false;
  }
}

export const remove = async (/** @type {string} */ id) => store && idb.del(id, store);
export const clear = async () => store && idb.clear(store);

const newestFirst = (/** @type {Conversation[]} */ found) => found.sort((one, other) => other.at - one.at);
