// Holds: what the page makes of a document.
import { describe, expect, it } from "vitest";
import { type ApiDocument, bounds, byTag, curl, matches, security } from "./document";

const operation = (more: object) => ({ operationId: "x", responses: {}, ...more });
const document: ApiDocument = {
  info: { title: "x", version: "1" },
  tags: [{ name: "rooms", description: "Rooms." }, { name: "files" }],
  paths: {
    "/api/rooms/": {
      get: operation({ tags: ["rooms"], summary: "Own rooms.", security: [{ token: [] }] }),
      post: operation({
        tags: ["rooms"],
        security: [{ token: [] }],
        requestBody: {
          content: { "application/json": { schema: { $ref: "#/components/schemas/RoomBody" } } },
        },
      }),
    },
    "/api/files/": {
      post: operation({
        tags: ["files"],
        security: [{}, { token: [] }],
        requestBody: {
          content: { "multipart/form-data": { schema: { $ref: "#/components/schemas/Form" } } },
        },
      }),
    },
    "/api/config/": { get: operation({ tags: ["files"] }) },
  },
  components: {
    responses: {},
    schemas: {
      RoomBody: {
        type: "object",
        required: ["name", "id", "who"],
        properties: {
          name: { type: "string" },
          id: { type: "integer", minimum: 5 },
          who: { $ref: "#/components/schemas/Who" },
          left_out: { type: ["string", "null"] },
        },
      },
      Who: { type: "object", required: ["role"], properties: { role: { type: "string", enum: ["it's"] } } },
      Form: {
        type: "object",
        properties: { file: { type: "string", format: "binary" }, name: { type: "string" } },
      },
    },
  },
};
const entries = byTag(document).flatMap((group) => group.entries);
const [rooms, create, upload, config] = entries;

describe("the document", () => {
  it("is grouped by tag", () => {
    expect(byTag(document).map(({ tag, about, entries }) => [tag, about, entries.length])).toEqual([
      ["rooms", "Rooms.", 2],
      ["files", "", 2],
    ]);
  });

  it("says who may ask", () => {
    expect(entries.map((entry) => security(entry.operation))).toEqual(["token", "token", "optional", "none"]);
  });

  it("is searched by all words", () => {
    if (rooms === undefined || config === undefined) throw new Error("no entries");
    expect(matches(rooms, "GET own")).toBe(true);
    expect(matches(rooms, "post own")).toBe(false);
    expect(matches(config, "")).toBe(true);
  });

  it("becomes commands", () => {
    const commands = [rooms, create, upload, config].map(
      (entry) => entry && curl(document, entry, "http://x"),
    );
    expect(commands).toEqual([
      "curl -H 'Authorization: Token …' 'http://x/api/rooms/'",
      `curl -X POST -H 'Authorization: Token …' -H 'Content-Type: application/json' -d '{"name":"…","id":5,"who":{"role":"it'\\''s"}}' 'http://x/api/rooms/'`,
      "curl -X POST -H 'Authorization: Token …' -F file=@… -F name=… 'http://x/api/files/'",
      "curl 'http://x/api/config/'",
    ]);
  });

  it("tells bounds", () => {
    expect(bounds({ minimum: 1 })).toBe("1…");
    expect(bounds({ minLength: 1, maxLength: 255 })).toBe("1…255");
    expect(bounds({ maxItems: 10 })).toBe("…10");
    expect(bounds({})).toBe("");
  });
});
