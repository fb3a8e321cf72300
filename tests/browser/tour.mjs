// A place with people and things in it, and the way to each of its screens: for those that look at all of them.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PASSWORD, Person, until } from "./harness.mjs";

const LONG =
  "A room whose name is so long that no list and no heading in the world could ever show all of it at once";

/** A photograph, nearly: something to look at, drawn by the browser. */
const drawn = (page, width, height) =>
  page
    .evaluate(
      ([width, height]) => {
        const canvas = Object.assign(document.createElement("canvas"), { width, height });
        const context = canvas.getContext("2d");
        const sky = context.createLinearGradient(0, 0, 0, height);
        sky.addColorStop(0, "#9cc4e8");
        sky.addColorStop(1, "#f3d9b1");
        context.fillStyle = sky;
        context.fillRect(0, 0, width, height);
        context.fillStyle = "#4d7a4a";
        context.beginPath();
        context.ellipse(width / 2, height, width * 0.7, height * 0.45, 0, 0, Math.PI * 2);
        context.fill();
        return canvas.toDataURL("image/jpeg").split(",")[1];
      },
      [width, height],
    )
    .then((data) => Buffer.from(data, "base64"));

async function upload(person, name, type, bytes) {
  const form = new FormData();
  form.append("file", new File([bytes], name, { type }));
  const answer = await fetch(`${person.server.origin}/api/files/upload/`, {
    method: "POST",
    headers: { Authorization: `Token ${person.token}` },
    body: form,
  });
  if (!answer.ok) throw new Error(`${name}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

/** Has the server warn of something, as it does when settings change that wait for its next start. */
export async function trouble(server, admin) {
  await writeFile(join(server.dataDir, "moznods.toml"), "[audit]\nkeep_days = 30\n");
  server.process.kill("SIGHUP");
  await until("the server warns", async () => {
    const value = await admin.ask("GET", "/api/admin/warnings/");
    return { done: value.length > 0, value };
  });
}

/** Anna, who administers, and Boris; rooms, messages of all kinds, an invitation. */
export async function settle(browser, server) {
  // Nothing is to be caught half-way.
  const still = { reducedMotion: "reduce" };
  const anna = await Person.arrive(browser, server, still);
  const boris = await Person.arrive(browser, server, still);
  await anna.register("anna", await server.setupLink());
  const post = (room, content, more = {}) =>
    anna.ask("POST", `/api/chat/${room}/messages/`, { content, ...more });
  for (const name of ["Garden", "Sunday chess", LONG, "Дача"])
    await anna.ask("POST", "/api/rooms/", {
      name,
      is_public: name !== "Дача",
      topic: name === "Garden" ? "Seeds, soil and patience" : "",
    });
  const family = await anna.ask("POST", "/api/rooms/", { name: "Family", topic: "What we do on Sundays" });
  await anna.ask("POST", `/api/rooms/${family.id}/pin/`);
  const invitation = await anna.ask("POST", `/api/rooms/${family.id}/invite/`, {
    expires_in_hours: 24,
    max_uses: 5,
  });
  await boris.register("boris", `/#/join/${invitation.token}`);
  const { id: borisId } = await boris.ask("GET", "/api/auth/me/");
  await boris.ask("PATCH", "/api/auth/profile/", { display_name: "Boris Petrov" });
  const says = (content, more = {}) =>
    boris.ask("POST", `/api/chat/${family.id}/messages/`, { content, ...more });
  const first = await says("Is anybody there?");
  await post(family.id, "Yes, **I am here**. Shall we meet at _noon_?", { reply_to: first.id });
  await post(
    family.id,
    "Two lines\nof text, and an address: https://example.org/a/rather/long/path?with=parameters&and=more",
  );
  await post(
    family.id,
    `A list:\n- bread\n- \`butter\`\n\n> who forgot the cake\n\n\`\`\`js\nconst cake = await bake({ cherries: true, minutes: 45, temperature: 180 });\n\`\`\``,
  );
  await post(family.id, "Aword".repeat(40));
  const photo = await upload(boris, "meadow.jpg", "image/jpeg", await drawn(boris.page, 1200, 800));
  const notes = await upload(
    boris,
    "shopping list for the whole weekend.txt",
    "text/plain",
    Buffer.from("bread\nbutter\n"),
  );
  const pictures = await says("From the walk", { attachment_ids: [photo.id, notes.id] });
  await anna.ask("PUT", `/api/chat/messages/${pictures.id}/reactions/${encodeURIComponent("❤️")}/`);
  await boris.ask("PUT", `/api/chat/messages/${pictures.id}/reactions/${encodeURIComponent("🎉")}/`);
  const edited = await says("@anna have you sen it?");
  await boris.ask("PATCH", `/api/chat/messages/${edited.id}/`, { content: "@anna have you seen it?" });
  await says("👍");
  await anna.ask("POST", "/api/rooms/direct/", { user_id: borisId });
  for (const name of ["Builds", "Monitoring of everything that there is to be watched in the whole house"])
    await anna.ask("POST", `/api/rooms/${family.id}/hooks/`, { name });
  await anna.ask("POST", "/api/bots/", { username: "weather", display_name: "Weather of the week" });
  const { bot } = await anna.ask("POST", "/api/bots/", { username: "old-bot" });
  await anna.ask("DELETE", `/api/bots/${bot.id}/token/`);
  await trouble(server, anna);
  const programs = "/api/admin/relay/secrets/";
  await anna.ask("POST", programs, { name: "matrix" });
  await anna.ask("POST", programs, { name: "cloud", max_allocations: 50, max_bytes_per_month: 2 ** 40 });
  for (const name of ["doorbell", "camera-of-the-garden-behind-the-house.first-floor"])
    await anna.ask("POST", "/api/admin/relay/devices/", { name });
  return { anna, boris, family: family.id, invitation: invitation.token, photo: "meadow.jpg" };
}

/** Each screen of one who is signed in: its name, and how one gets there. */
export function screens({ family, invitation }) {
  const go = (hash) => async (page) => {
    await page.evaluate((hash) => {
      location.hash = hash;
    }, hash);
  };
  const room = async (page) => {
    await go(`#/room/${family}`)(page);
    await page.locator("[data-message-id]", { hasText: "👍" }).first().waitFor();
    await page.locator(".picture img").evaluate((image) => image.decode());
  };
  const press = (page, name) => page.getByRole("button", { name, exact: true }).first().click();
  /** `words`: what buttons are called in the language of the page. */
  const about = async (page, words) => {
    await room(page);
    if (page.viewportSize().width < 1200) await press(page, words.about);
  };
  const closed = (page) => page.keyboard.press("Escape");
  return [
    { name: "home", open: go("#/") },
    { name: "room", open: room },
    {
      name: "message-actions",
      open: async (page) => {
        await room(page);
        await page.locator("[data-message-id]", { hasText: "noon" }).hover();
      },
    },
    {
      name: "picture",
      open: async (page) => {
        await room(page);
        await page.locator(".picture").first().click();
        await page.locator(".viewer-stage img").evaluate((image) => image.decode());
      },
      leave: closed,
    },
    { name: "about-room", open: about, leave: closed },
    {
      name: "invite",
      open: async (page, words) => {
        await about(page, words);
        await press(page, words.invite);
        await page.locator("dialog .copy").waitFor();
      },
      leave: async (page) => {
        await closed(page);
        await closed(page);
      },
    },
    {
      name: "edit-room",
      open: async (page, words) => {
        await about(page, words);
        await press(page, words.edit);
      },
      leave: async (page) => {
        await closed(page);
        await closed(page);
      },
    },
    {
      name: "hooks",
      open: async (page, words) => {
        await about(page, words);
        await press(page, words.hooks);
        await page.locator("dialog [data-hook]").first().waitFor();
      },
      leave: async (page) => {
        await closed(page);
        await closed(page);
      },
    },
    {
      name: "edit-hook",
      open: async (page, words) => {
        await about(page, words);
        await press(page, words.hooks);
        await page.locator("dialog [data-hook] button").first().click();
        await page.getByRole("menuitem").first().click();
        await page.locator("dialog .avatar.large").waitFor();
      },
      leave: async (page) => {
        for (let dialog = 0; dialog < 3; dialog++) await closed(page);
      },
    },
    {
      name: "new-room",
      open: async (page, words) => {
        await go("#/")(page);
        await press(page, words.newRoom);
      },
      leave: closed,
    },
    { name: "join", open: go(`#/join/${invitation}`), ready: ".empty .avatar" },
    { name: "mentions", open: go("#/mentions"), ready: ".found-message" },
    { name: "search", open: go("#/search/cake"), ready: ".found-message" },
    { name: "search-empty", open: go("#/search"), ready: ".empty" },
    { name: "explore", open: go("#/explore"), ready: ".found .row" },
    { name: "people", open: go("#/explore/people"), ready: ".found .row" },
    { name: "settings", open: go("#/settings"), ready: ".panel" },
    { name: "security", open: go("#/settings/security"), ready: ".panel" },
    {
      name: "second-factor",
      open: async (page) => {
        await go("#/settings")(page);
        await go("#/settings/security")(page);
        await page.locator(".panel").nth(1).locator("input").fill(PASSWORD);
        await page.locator(".panel").nth(1).locator("input").press("Enter");
        await page.locator(".qr").waitFor();
      },
    },
    { name: "devices", open: go("#/settings/devices"), ready: ".found .row" },
    { name: "notifications", open: go("#/settings/notifications"), ready: ".panel .field" },
    { name: "appearance", open: go("#/settings/appearance"), ready: ".panel" },
    { name: "bots", open: go("#/settings/bots"), ready: ".found .row" },
    {
      name: "add-bot",
      open: async (page, words) => {
        await go("#/settings/bots")(page);
        await press(page, words.addBot);
        await page.locator("dialog form").waitFor();
      },
      leave: closed,
    },
    { name: "users", open: go("#/admin"), ready: ".found .row" },
    { name: "all-rooms", open: go("#/admin/rooms"), ready: ".found .row" },
    { name: "relay", open: go("#/admin/relay"), ready: ".panel .empty" },
    { name: "programs", open: go("#/admin/programs"), ready: ".found .row" },
    {
      name: "add-program",
      open: async (page, words) => {
        await go("#/admin/programs")(page);
        await press(page, words.addProgram);
        await page.locator("dialog form").waitFor();
      },
      leave: closed,
    },
    {
      name: "program-secret",
      open: async (page) => {
        await go("#/admin/programs")(page);
        await page.locator("[data-program=matrix] button").click();
        await page.getByRole("menuitem").first().click();
        await page.locator("dialog button[type=submit]").click();
        await page.locator("dialog .copy").waitFor();
      },
      leave: closed,
    },
    { name: "usage", open: go("#/admin/usage"), ready: ".panel .empty" },
    { name: "bans", open: go("#/admin/bans"), ready: ".panel .empty, [data-ban]" },
    { name: "audit", open: go("#/admin/audit"), ready: ".panel .empty, .found .row, .form-error" },
    { name: "server-settings", open: go("#/admin/settings"), ready: "[data-setting]" },
    { name: "warnings", open: go("#/admin/warnings"), ready: ".found .row" },
    { name: "gone", open: go("#/room/999999"), ready: ".empty" },
  ];
}

/** What the buttons on the way are called. */
export const WORDS = {
  en: {
    about: "About the room",
    invite: "Invite",
    edit: "Edit the room",
    hooks: "Webhooks",
    addBot: "Make a bot",
    newRoom: "New room",
    addProgram: "Add a program",
  },
  ru: {
    about: "О комнате",
    invite: "Пригласить",
    edit: "Изменить комнату",
    hooks: "Вебхуки",
    addBot: "Создать бота",
    newRoom: "Новая комната",
    addProgram: "Добавить программу",
  },
};

export async function open(page, screen, words) {
  await screen.open(page, words);
  if (screen.ready !== undefined) await page.locator(screen.ready).first().waitFor();
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
}
