//! The one step in which rows are taken: those of a table after those that it names.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use moznods_storage::django::{
    Attachment, DjangoDatabase, File, Invitation, Message, Participant, Profile, ReadMark, Room,
    Row, Table, Token, User,
};
use moznods_storage::{
    BlobHash, Import, ImportKind, ImportedFile, ImportedInvitation, ImportedMessage,
    ImportedParticipant, ImportedRoom, ImportedToken, ImportedUser, MessageId, ReadSpan, RoomId,
    SecretText, StorageError, Timestamp, UserId,
};
use uuid::Uuid;

use super::names;
use super::report::{Finding, Report};
use super::{Found, MAX_ID, SourceFile};
use crate::app::accounts::hash;
use crate::app::limits;
use crate::app::passwords::{Pbkdf2, algorithm};

type Result<T> = std::result::Result<T, StorageError>;

/// Characters of a key that nobody guesses; the Django program's have 40.
const TOKEN_KEY: std::ops::RangeInclusive<usize> = 32..=256;
/// Characters of a message that is taken as it is. More than may be sent, as it has been.
const MESSAGE: usize = 64 * 1024;

#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Bytes that a user's files may take.
    pub quota: Option<i64>,
    pub now: Timestamp,
}

pub(super) struct Taking<'a> {
    step: &'a dyn Import,
    source: &'a DjangoDatabase,
    found: &'a Found,
    rules: Rules,
    report: &'a mut Report,
    users: Numbers,
}

/// Which numbers are given. One from there is kept unless it was given out here before it came.
#[derive(Clone, Copy)]
struct Numbers {
    given_out: i64,
    next: i64,
}

impl Numbers {
    fn of<T: Table>(step: &dyn Import, source: &DjangoDatabase, kind: ImportKind) -> Result<Self> {
        let given_out = step.given_out(kind)?;
        Ok(Numbers {
            given_out,
            next: given_out.max(source.highest::<T>()?.min(MAX_ID)) + 1,
        })
    }

    fn fresh(&mut self) -> i64 {
        self.next += 1;
        self.next - 1
    }

    fn for_source(&mut self, id: i64) -> i64 {
        match id > self.given_out {
            true => id,
            false => self.fresh(),
        }
    }
}

impl<'a> Taking<'a> {
    pub fn new(
        step: &'a dyn Import,
        source: &'a DjangoDatabase,
        found: &'a Found,
        rules: Rules,
        report: &'a mut Report,
    ) -> Self {
        let users = Numbers {
            given_out: 0,
            next: 1,
        };
        Taking {
            step,
            source,
            found,
            rules,
            report,
            users,
        }
    }

    pub fn take_all(mut self) -> Result<()> {
        self.users = Numbers::of::<User>(self.step, self.source, ImportKind::User)?;
        self.users()?;
        self.tokens()?;
        self.profiles()?;
        let owners = self.rooms()?;
        self.participants()?;
        self.owners(&owners)?;
        self.invitations()?;
        self.messages()?;
        self.read_marks()?;
        self.attachments()
    }

    /// Rows of a table that were not taken before.
    fn each<T: Table>(
        &mut self,
        kind: ImportKind,
        mut take: impl FnMut(&mut Self, i64, T) -> Result<()>,
    ) -> Result<()> {
        let source = self.source;
        source.each(|id, row: Row<T>| {
            if self.step.known(kind, id)?.is_some() {
                self.report.table::<T>().there += 1;
                return Ok(());
            }
            match self.report.table::<T>().usable(id, row) {
                Some(row) => take(self, id, row),
                None => Ok(()),
            }
        })
    }

    fn taken<T: Table>(&mut self, kind: ImportKind, id: i64, here: i64) -> Result<()> {
        self.step.remember(kind, id, here)?;
        self.report.table::<T>().taken += 1;
        Ok(())
    }

    fn left_out<T: Table>(&mut self, id: i64, why: Finding) -> Result<()> {
        self.report.table::<T>().left_out(id, why);
        Ok(())
    }

    fn changed<T: Table>(&mut self, id: i64, how: Finding) {
        self.report.table::<T>().changed(id, how);
    }

    /// What cannot be read is taken for now.
    fn time<T: Table>(
        &mut self,
        id: i64,
        column: &'static str,
        time: Option<Timestamp>,
    ) -> Timestamp {
        time.unwrap_or_else(|| {
            self.changed::<T>(id, Finding::BadTime(column));
            self.rules.now
        })
    }

    /// One who is here and has not been deleted.
    fn user(&self, source: i64) -> Result<std::result::Result<moznods_storage::User, Finding>> {
        Ok(match self.step.known(ImportKind::User, source)? {
            None => Err(Finding::NoUser),
            Some(user) => self.step.user(user)?.ok_or(Finding::Gone),
        })
    }

    /// With its owner.
    fn room(&self, source: i64) -> Result<std::result::Result<(RoomId, UserId), Finding>> {
        let Some(room) = self.step.known(ImportKind::Room, source)? else {
            return Ok(Err(Finding::NoRoom));
        };
        let owner = self.step.owner_of(room)?;
        Ok(owner.map(|owner| (room, owner)).ok_or(Finding::Gone))
    }

    /// With its room.
    fn message(&self, source: i64) -> Result<std::result::Result<(MessageId, RoomId), Finding>> {
        let Some(message) = self.step.known(ImportKind::Message, source)? else {
            return Ok(Err(Finding::NoMessage));
        };
        let room = self.step.room_of_message(message)?;
        Ok(room.map(|room| (message, room)).ok_or(Finding::Gone))
    }

    fn users(&mut self) -> Result<()> {
        let mut addresses = HashSet::new();
        self.source.each(|_, row: Row<User>| {
            addresses.extend(row.ok().map(|user| user.email.trim().to_lowercase()));
            Ok(())
        })?;
        self.each(ImportKind::User, |taking, id, user: User| {
            let number = taking.users.for_source(id);
            if number != id {
                taking.changed::<User>(id, Finding::NewId(number));
            }
            let username = names::username(&user.username, number, |name| {
                taking.step.username_is_taken(name)
            })?;
            if username != user.username {
                let renamed = Finding::Renamed(user.username.clone(), username.clone());
                taking.changed::<User>(id, renamed);
            }
            let email = taking.email(id, &user, &addresses)?;
            let is_admin = user.is_superuser || user.is_staff;
            if is_admin {
                taking.changed::<User>(id, Finding::Admin);
            }
            let added = ImportedUser {
                id: number,
                username,
                email,
                password_hash: taking.password(id, user.password),
                is_admin,
                blocked: !user.is_active,
                deleted: false,
                created_at: taking.time::<User>(id, "date_joined", user.date_joined),
                last_seen_at: user.last_login,
            };
            taking.step.add_user(&added)?;
            taking.taken::<User>(ImportKind::User, id, number)
        })
    }

    /// `addresses` are those of all users.
    fn email(&mut self, id: i64, user: &User, addresses: &HashSet<String>) -> Result<String> {
        let given = user.email.trim();
        let email = match names::email(given) {
            Some(email) => email,
            // Whoever signed in by an address goes on doing so, unless it is somebody else's.
            None if given.is_empty() => names::email(&user.username)
                .filter(|email| !addresses.contains(&email.to_lowercase()))
                .unwrap_or_default(),
            None => {
                self.changed::<User>(id, Finding::EmailBad);
                return Ok(String::new());
            }
        };
        if !email.is_empty() && self.step.email_is_taken(&email)? {
            self.changed::<User>(id, Finding::EmailTaken);
            return Ok(String::new());
        }
        Ok(email)
    }

    fn password(&mut self, id: i64, password: SecretText) -> SecretText {
        if Pbkdf2::parse(&password.0).is_some() {
            return password;
        }
        self.changed::<User>(
            id,
            match password.0.starts_with('!') || password.0.is_empty() {
                true => Finding::NoPassword,
                false => Finding::OtherHasher(algorithm(&password.0).unwrap_or("?").to_owned()),
            },
        );
        SecretText(String::new())
    }

    /// Known by a part of their hashes, so that one that was ended here stays ended.
    fn tokens(&mut self) -> Result<()> {
        let source = self.source;
        source.each(|id, row: Row<Token>| {
            let Some(token) = self.report.table::<Token>().usable(id, row) else {
                return Ok(());
            };
            let key = &token.key.0;
            let is_fit =
                TOKEN_KEY.contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
            if !is_fit {
                return self.left_out::<Token>(id, Finding::WeakKey);
            }
            let hash = hash(key);
            let [a, b, c, d, e, f, g, h, ..] = hash.0;
            let number = i64::from_le_bytes([a, b, c, d, e, f, g, h]);
            if self.step.known(ImportKind::Token, number)?.is_some() {
                self.report.table::<Token>().there += 1;
                return Ok(());
            }
            let user = match self.user(id)? {
                Err(why) => return self.left_out::<Token>(id, why),
                Ok(user) if user.blocked => return self.left_out::<Token>(id, Finding::Blocked),
                Ok(user) => user.id,
            };
            let added = ImportedToken {
                hash,
                user,
                created_at: self.time::<Token>(id, "created", token.created),
                now: self.rules.now,
            };
            self.step.add_token(&added)?;
            self.taken::<Token>(ImportKind::Token, number, user)
        })
    }

    fn profiles(&mut self) -> Result<()> {
        self.each(ImportKind::Profile, |taking, id, profile: Profile| {
            let user = match taking.user(profile.user)? {
                Ok(user) => user.id,
                Err(why) => return taking.left_out::<Profile>(id, why),
            };
            let name = names::shown(&profile.display_name, limits::DISPLAY_NAME);
            if name != profile.display_name.trim() {
                let renamed = Finding::Renamed(profile.display_name, name.clone());
                taking.changed::<Profile>(id, renamed);
            }
            let avatar: Option<Option<BlobHash>> = taking.found.avatars.get(&id).copied();
            taking.step.set_profile(user, &name, avatar.flatten())?;
            match avatar {
                // It is left out already; perhaps the picture is there the next time.
                Some(None) => Ok(()),
                _ => taking.taken::<Profile>(ImportKind::Profile, id, user),
            }
        })
    }

    /// Owners of those that are new, by their rooms.
    fn rooms(&mut self) -> Result<Vec<(i64, RoomId, UserId)>> {
        let mut people: HashMap<i64, Vec<UserId>> = HashMap::new();
        self.source.each(|_, row: Row<Participant>| {
            if let Ok(row) = row
                && let Ok(user) = self.user(row.user)?
            {
                let people = people.entry(row.room).or_default();
                if !people.contains(&user.id) {
                    people.push(user.id);
                }
            }
            Ok(())
        })?;
        let mut numbers = Numbers::of::<Room>(self.step, self.source, ImportKind::Room)?;
        let mut owners = Vec::new();
        self.each(ImportKind::Room, |taking, id, room: Room| {
            let people = people.get(&id).map_or(&[][..], Vec::as_slice);
            let owner = match room.owner {
                Some(owner) => taking.user(owner)?.ok().map(|user| user.id),
                None => None,
            };
            let Some(mut found) = owner.or(people.first().copied()) else {
                return taking.left_out::<Room>(id, Finding::NoUser);
            };
            let mut pair = None;
            if room.is_direct {
                match *people {
                    [one, other] if !taking.step.has_direct_room((one, other))? => {
                        pair = Some((one, other));
                        // Whoever owns a room is in it, and in this one nobody else may be.
                        if ![one, other].contains(&found) {
                            found = one;
                        }
                    }
                    _ => taking.changed::<Room>(id, Finding::NotDirect),
                }
            }
            if owner != Some(found) {
                taking.changed::<Room>(id, Finding::NewOwner);
            }
            let mut name = names::shown(&room.name, limits::ROOM_NAME);
            if name.is_empty() {
                name = format!("Room {id}");
            }
            if name != room.name.trim() {
                taking.changed::<Room>(id, Finding::Renamed(room.name, name.clone()));
            }
            let number = numbers.for_source(id);
            if number != id {
                taking.changed::<Room>(id, Finding::NewId(number));
            }
            let created_at = taking.time::<Room>(id, "created_at", room.created_at);
            taking.step.add_room(&ImportedRoom {
                id: number,
                name,
                owner: found,
                pair,
                created_at,
                updated_at: room.updated_at.unwrap_or(created_at),
            })?;
            owners.push((id, number, found));
            taking.taken::<Room>(ImportKind::Room, id, number)
        })?;
        Ok(owners)
    }

    fn participants(&mut self) -> Result<()> {
        self.each(ImportKind::Participant, |taking, id, row: Participant| {
            let room = match taking.room(row.room)? {
                Ok((room, _)) => room,
                Err(why) => return taking.left_out::<Participant>(id, why),
            };
            let user = match taking.user(row.user)? {
                Ok(user) => user.id,
                Err(why) => return taking.left_out::<Participant>(id, why),
            };
            if !taking.step.admits(room, user)? {
                return taking.left_out::<Participant>(id, Finding::NotAdmitted);
            }
            let added = ImportedParticipant {
                room,
                user,
                joined_at: taking.time::<Participant>(id, "joined_at", row.joined_at),
                pinned: row.pinned,
            };
            match taking.step.add_participant(&added)? {
                true => taking.taken::<Participant>(ImportKind::Participant, id, user),
                false => taking.left_out::<Participant>(id, Finding::Double),
            }
        })
    }

    /// Whoever owns a room takes part in it.
    fn owners(&mut self, owners: &[(i64, RoomId, UserId)]) -> Result<()> {
        for &(id, room, user) in owners {
            let entered = self.step.add_participant(&ImportedParticipant {
                room,
                user,
                joined_at: self.rules.now,
                pinned: false,
            })?;
            if entered {
                self.changed::<Room>(id, Finding::OwnerEntered);
            }
        }
        Ok(())
    }

    fn invitations(&mut self) -> Result<()> {
        self.each(ImportKind::Invitation, |taking, id, row: Invitation| {
            let (room, owner) = match taking.room(row.room)? {
                Ok(found) => found,
                Err(why) => return taking.left_out::<Invitation>(id, why),
            };
            if taking.step.is_direct(room)? {
                return taking.left_out::<Invitation>(id, Finding::Direct);
            }
            let Ok(token) = Uuid::parse_str(&row.token.0) else {
                return taking.left_out::<Invitation>(id, Finding::NoUuid);
            };
            let now = taking.rules.now;
            if row.expires_at.is_some_and(|end| end <= now) {
                return taking.left_out::<Invitation>(id, Finding::Expired);
            }
            let by = match row.created_by {
                Some(by) => taking.user(by)?.map_or(owner, |user| user.id),
                None => owner,
            };
            let added = ImportedInvitation {
                token: SecretText(token.hyphenated().to_string()),
                room,
                by,
                created_at: row.created_at.unwrap_or(now),
                expires_at: row.expires_at,
            };
            match taking.step.add_invitation(&added)? {
                true => taking.taken::<Invitation>(ImportKind::Invitation, id, room),
                false => taking.left_out::<Invitation>(id, Finding::Double),
            }
        })
    }

    /// Their numbers are their order: if the first cannot be kept, all are moved by as much.
    fn messages(&mut self) -> Result<()> {
        let given_out = self.step.given_out(ImportKind::Message)?;
        let mut offset = None;
        let mut last_time = None;
        self.each(ImportKind::Message, |taking, id, row: Message| {
            let time = row.created_at.or(last_time);
            last_time = time;
            let room = match taking.room(row.room)? {
                Ok((room, _)) => room,
                Err(why) => return taking.left_out::<Message>(id, why),
            };
            if row.created_at.is_none() {
                taking.changed::<Message>(id, Finding::BadTime("created_at"));
            }
            let offset = *offset.get_or_insert_with(|| {
                let offset = (given_out + 1 - id).max(0);
                if offset > 0 {
                    taking.changed::<Message>(id, Finding::Moved(offset));
                }
                offset
            });
            let mut content = row.content;
            if content.contains('\0') {
                taking.changed::<Message>(id, Finding::NoZeroes);
                content.retain(|character| character != '\0');
            }
            if let Some((end, _)) = content.char_indices().nth(MESSAGE) {
                taking.changed::<Message>(id, Finding::Shortened);
                content.truncate(end);
            }
            let message = ImportedMessage {
                id: id + offset,
                room,
                author: taking.author(id, row.author)?,
                content,
                created_at: time.unwrap_or(taking.rules.now),
            };
            taking.step.add_message(&message)?;
            taking.taken::<Message>(ImportKind::Message, id, message.id)
        })
    }

    /// Deleted or not; of one who is not there, somebody deleted stands for him.
    fn author(&mut self, message: i64, source: Option<i64>) -> Result<UserId> {
        let source = source.unwrap_or(0).max(0);
        if let Some(author) = self.step.known(ImportKind::User, source)? {
            return Ok(author);
        }
        self.changed::<Message>(message, Finding::AuthorGone);
        // No row has such a number.
        let source = -1 - source;
        if let Some(author) = self.step.known(ImportKind::User, source)? {
            return Ok(author);
        }
        let id = self.users.fresh();
        self.step.add_user(&ImportedUser {
            id,
            username: format!("deleted-{id}"),
            email: String::new(),
            password_hash: SecretText(String::new()),
            is_admin: false,
            blocked: false,
            deleted: true,
            created_at: self.rules.now,
            last_seen_at: None,
        })?;
        self.step.remember(ImportKind::User, source, id)?;
        Ok(id)
    }

    /// Here one has read up to a message: the last of those that were read there.
    fn read_marks(&mut self) -> Result<()> {
        struct Span {
            before: ReadSpan,
            first: MessageId,
            last: MessageId,
        }
        let mut spans: HashMap<(RoomId, UserId), Option<Span>> = HashMap::new();
        let source = self.source;
        source.each(|id, row: Row<ReadMark>| {
            let Some(row) = self.report.table::<ReadMark>().usable(id, row) else {
                return Ok(());
            };
            let (message, room) = match self.message(row.message)? {
                Ok(found) => found,
                Err(why) => return self.left_out::<ReadMark>(id, why),
            };
            let Some(user) = self.step.known(ImportKind::User, row.user)? else {
                return self.left_out::<ReadMark>(id, Finding::NoUser);
            };
            let span = match spans.entry((room, user)) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let before = self.step.read_span(room, user)?;
                    entry.insert(before.map(|before| Span {
                        before,
                        first: message,
                        last: message,
                    }))
                }
            };
            let Some(span) = span else {
                return self.left_out::<ReadMark>(id, Finding::NotParticipant);
            };
            span.first = span.first.min(message);
            span.last = span.last.max(message);
            let table = self.report.table::<ReadMark>();
            match message > span.before.read {
                true => table.taken += 1,
                false => table.there += 1,
            }
            Ok(())
        })?;
        for ((room, user), span) in spans {
            let Some(Span {
                before,
                first,
                last,
            }) = span
            else {
                continue;
            };
            if last > before.read {
                let after = match before.read {
                    0 => first - 1,
                    _ => before.after,
                };
                let span = ReadSpan { after, read: last };
                self.step.set_read_span(room, user, span)?;
            }
        }
        Ok(())
    }

    /// A file is attached once here: for each further time it is one more, of the same bytes.
    fn attachments(&mut self) -> Result<()> {
        let mut numbers = Numbers::of::<File>(self.step, self.source, ImportKind::File)?;
        self.each(ImportKind::Attachment, |taking, id, row: Attachment| {
            let message = match taking.message(row.message)? {
                Ok((message, _)) => message,
                Err(why) => return taking.left_out::<Attachment>(id, why),
            };
            let found = taking.found;
            let Some(file) = found.files.get(&row.file) else {
                return taking.left_out::<Attachment>(id, Finding::NoFile);
            };
            let is_first = taking.step.known(ImportKind::File, row.file)?.is_none();
            let number = match is_first {
                true => numbers.for_source(row.file),
                false => numbers.fresh(),
            };
            let attached = match taking.uploader(file)? {
                Some(uploader) => taking.add_file(number, message, uploader, file),
                None => return taking.left_out::<Attachment>(id, Finding::NoUser),
            };
            match attached {
                Ok(attachment) => {
                    if is_first {
                        if number != row.file {
                            taking.changed::<File>(row.file, Finding::NewId(number));
                        }
                        taking.taken::<File>(ImportKind::File, row.file, number)?;
                    }
                    taking.taken::<Attachment>(ImportKind::Attachment, id, attachment)
                }
                Err(StorageError::QuotaExceeded) => {
                    if is_first {
                        taking.left_out::<File>(row.file, Finding::Quota)?;
                    }
                    taking.left_out::<Attachment>(id, Finding::NoFile)
                }
                Err(error) => Err(error),
            }
        })
    }

    /// Deleted or not.
    fn uploader(&self, file: &SourceFile) -> Result<Option<UserId>> {
        match file.uploader {
            Some(uploader) => self.step.known(ImportKind::User, uploader),
            None => Ok(None),
        }
    }

    fn add_file(
        &self,
        id: i64,
        message: MessageId,
        uploader: UserId,
        file: &SourceFile,
    ) -> Result<i64> {
        let found = &file.found;
        self.step.add_file(&ImportedFile {
            id,
            message,
            uploader,
            hash: found.hash,
            name: found.name.clone(),
            content_type: found.content_type.clone(),
            size: found.size,
            dimensions: found.dimensions,
            has_thumbnail: found.has_thumbnail,
            quota: self.rules.quota,
            created_at: file.created_at.unwrap_or(self.rules.now),
        })
    }
}
