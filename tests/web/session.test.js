import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { openPage } from "./fake_page.js";

const root = openPage("dialog", "dialog-title", "dialog-body", "dialog-close");
const { closeDialog, showAccount, showDialog, showSignIn, whoCalls } = await import("../../service/web/session.js");
const history = await import("../../service/web/history.js");
const { conversation, openDatabases } = await import("./fake_database.js");
const [dialog, title, body, close] = root.childNodes;
let asked;

beforeEach(() => {
  dialog.close();
  answers({});
});

/** What the service answers to every request. */
function answers(content, status = 200) {
  asked = [];
  globalThis.fetch = async (url, { method, body: sent }) => {
    asked.push(`${method} ${url.pathname.split("/").slice(-2).join("/")} ${sent ?? ""}`.trim());
    return status === 204 ? new Response(null, { status }) : Response.json(content, { status });
  };
}

async function signIn(key, then = () => {}) {
  showSignIn(then);
  body.querySelector("input").value = key;
  await body.querySelector("form").fire("submit");
  return body.querySelector("[role=alert]").textContent;
}

test("the service says who calls", async () => {
  answers({ name: "ann" });
  assert.deepEqual(await whoCalls(), { name: "ann" });
});

test("nobody calls where a key is needed first, and another failure is one", async () => {
  answers({ detail: "No key." }, 401);
  assert.equal(await whoCalls(), null);
  answers({ detail: "Broken." }, 500);
  await assert.rejects(whoCalls(), { message: "Broken." });
});

test("a dialog shows its title and content, without what is missing", () => {
  showDialog("Title", "text", null, false);
  assert.deepEqual([title.textContent, body.textContent, dialog.open], ["Title", "text", true]);
  closeDialog();
  assert.equal(dialog.open, false);
});

test("the dialog's own button closes it", async () => {
  showDialog("Title");
  await close.click();
  assert.equal(dialog.open, false);
});

test("a key is sent without the spaces around it, and then the page goes on", async () => {
  const done = [];
  answers(null, 204);
  await signIn("  secret \n", () => done.push("then"));
  assert.deepEqual([asked, done, dialog.open], [['POST v1/session {"key":"secret"}'], ["then"], false]);
});

test("why a key is needed stands above the form", () => {
  showSignIn(() => {}, "Your key has expired.");
  assert.equal(body.querySelector(".note").textContent, "Your key has expired.");
  showSignIn(() => {});
  assert.equal(body.querySelector(".note"), null);
});

for (const status of [401, 422]) {
  test(`a key that is answered with ${status} was not accepted, and can be typed again`, async () => {
    answers({ detail: "key: String should have at most 3500 characters" }, status);
    assert.equal(await signIn("wrong"), "The key was not accepted.");
    assert.equal(dialog.open, true);
  });
}

test("another failure of the sign-in is shown as the service says it, or as one of the network", async () => {
  answers({ detail: "Too many attempts." }, 429);
  assert.equal(await signIn("key"), "Too many attempts.");
  globalThis.fetch = async () => Promise.reject(new TypeError("failed"));
  assert.ok((await signIn("key")).startsWith("The service could not be reached"));
});

async function signOut(choice) {
  const done = [];
  openDatabases();
  history.openFor("ann");
  await history.save(conversation("a", 1));
  answers(null, 204);
  showAccount({ name: "ann" }, () => done.push("then"));
  await body.querySelectorAll("button")[choice].click();
  assert.deepEqual([asked, done, dialog.open], [["DELETE v1/session"], ["then"], false]);
  return (await history.list()).length;
}

test("signing out keeps the history", async () => {
  assert.equal(await signOut(0), 1);
});

test("signing out deletes the history where that is asked for", async () => {
  assert.equal(await signOut(1), 0);
});
