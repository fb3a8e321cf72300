// What a room is called, what it is for, and who finds it.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Room } from "../../api/types";
import { t } from "../../i18n";
import { may } from "../../state/rights";
import { takeRoom } from "../../state/rooms";
import { api, serverConfig } from "../../state/session";
import { Field, FormDialog, Switch, TextArea } from "../../ui/components";
import { useForm } from "../../ui/use";

const TOPIC_LENGTH = 1000;

export function EditRoom({ room, onClose }: { room: Room; onClose: () => void }): JSX.Element {
  const [name, setName] = useState(room.name);
  const [topic, setTopic] = useState(room.topic);
  const [isPublic, setPublic] = useState(room.is_public);
  const form = useForm(["name", "topic"]);
  const owns = may(room, "settings");

  async function save(): Promise<void> {
    if (name.trim() === "") {
      form.fail({ name: t("field_required") });
      return;
    }
    const change = {
      ...(topic.trim() === room.topic ? {} : { topic: topic.trim() }),
      ...(owns && name.trim() !== room.name ? { name: name.trim() } : {}),
      ...(owns && isPublic !== room.is_public ? { is_public: isPublic } : {}),
    };
    if (await form.submit(async () => void takeRoom(await api.changeRoom(room.id, change)))) onClose();
  }

  return (
    <FormDialog
      title={t("edit_room")}
      form={form}
      action={t("save")}
      onClose={onClose}
      onSubmit={() => {
        void save();
      }}
    >
      {owns && (
        <Field
          label={t("room_name")}
          name="name"
          value={name}
          onInput={setName}
          error={form.problems.name}
          maxLength={serverConfig.value?.limits.room_name_length}
          required
          autofocus
        />
      )}
      <TextArea
        label={t("topic")}
        name="topic"
        value={topic}
        onInput={setTopic}
        error={form.problems.topic}
        hint={t("topic_hint")}
        maxLength={TOPIC_LENGTH}
      />
      {owns && !room.is_direct && (
        <Switch
          label={t("public_room")}
          hint={t("public_room_hint")}
          checked={isPublic}
          onChange={setPublic}
        />
      )}
    </FormDialog>
  );
}
