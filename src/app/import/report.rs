//! What has become of each row.

use std::collections::BTreeMap;

use moznods_storage::django::{
    Attachment, File, Invitation, Message, Participant, Profile, ReadMark, Remark, Room, Row,
    Table, Token, User,
};

use super::MAX_ID;
use crate::app::files::NotTaken;

/// Rows that are named for each finding; of more there is but the number.
const NAMED: usize = 1000;

/// What is worth knowing of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    // Why a row is left out.
    BadId,
    /// Of this column.
    BadValue(&'static str),
    NoUser,
    NoRoom,
    NoMessage,
    NoFile,
    /// What it belongs to was removed here.
    Gone,
    NotAdmitted,
    Direct,
    NotParticipant,
    Blocked,
    WeakKey,
    Expired,
    NoUuid,
    Double,
    Unattached,
    Quota,
    NotTaken(NotTaken),
    // What is otherwise than it was there.
    /// To this.
    NewId(i64),
    /// All from here on, by so much.
    Moved(i64),
    Renamed(String, String),
    EmailBad,
    EmailTaken,
    NoPassword,
    /// What made it.
    OtherHasher(String),
    Admin,
    BadTime(&'static str),
    NotDirect,
    NewOwner,
    OwnerEntered,
    AuthorGone,
    Shortened,
    NoZeroes,
}

impl Finding {
    /// A stable word.
    pub fn word(&self) -> &'static str {
        match self {
            Finding::BadId => "bad_id",
            Finding::BadValue(_) => "bad_value",
            Finding::NoUser => "no_user",
            Finding::NoRoom => "no_room",
            Finding::NoMessage => "no_message",
            Finding::NoFile => "no_file",
            Finding::Gone => "gone",
            Finding::NotAdmitted => "not_admitted",
            Finding::Direct => "direct",
            Finding::NotParticipant => "not_participant",
            Finding::Blocked => "blocked",
            Finding::WeakKey => "weak_key",
            Finding::Expired => "expired",
            Finding::NoUuid => "no_uuid",
            Finding::Double => "double",
            Finding::Unattached => "unattached",
            Finding::Quota => "quota",
            Finding::NotTaken(NotTaken::Missing) => "missing",
            Finding::NotTaken(NotTaken::Outside) => "outside",
            Finding::NotTaken(NotTaken::Empty) => "empty",
            Finding::NotTaken(NotTaken::TooLarge) => "too_large",
            Finding::NotTaken(NotTaken::Type) => "type",
            Finding::NotTaken(NotTaken::NotAPicture) => "not_a_picture",
            Finding::NewId(_) => "new_id",
            Finding::Moved(_) => "moved",
            Finding::Renamed(..) => "renamed",
            Finding::EmailBad => "email_bad",
            Finding::EmailTaken => "email_taken",
            Finding::NoPassword => "no_password",
            Finding::OtherHasher(_) => "other_hasher",
            Finding::Admin => "admin",
            Finding::BadTime(_) => "bad_time",
            Finding::NotDirect => "not_direct",
            Finding::NewOwner => "new_owner",
            Finding::OwnerEntered => "owner_entered",
            Finding::AuthorGone => "author_gone",
            Finding::Shortened => "shortened",
            Finding::NoZeroes => "no_zeroes",
        }
    }

    /// What more there is to say, in no language; empty: nothing.
    pub fn detail(&self) -> String {
        match self {
            Finding::BadValue(column) | Finding::BadTime(column) => (*column).to_owned(),
            Finding::NewId(id) => format!("→ {id}"),
            Finding::Moved(by) => format!("+{by}"),
            Finding::Renamed(from, to) => format!("{from:?} → {to:?}"),
            Finding::OtherHasher(name) => name.clone(),
            _ => String::new(),
        }
    }
}

impl From<NotTaken> for Finding {
    fn from(why: NotTaken) -> Self {
        Finding::NotTaken(why)
    }
}

/// Rows of which the same was found.
#[derive(Debug, Default)]
pub struct Group {
    pub left_out: bool,
    pub count: u64,
    /// The first of them, with what was found of each.
    pub rows: Vec<(i64, Finding)>,
}

#[derive(Debug, Default)]
pub struct TableReport {
    pub name: &'static str,
    pub taken: u64,
    /// From an earlier time.
    pub there: u64,
    /// By [`Finding::word`].
    pub groups: BTreeMap<&'static str, Group>,
}

impl TableReport {
    pub(super) fn left_out(&mut self, id: i64, why: Finding) {
        self.note(id, why, true);
    }

    pub(super) fn changed(&mut self, id: i64, how: Finding) {
        self.note(id, how, false);
    }

    fn note(&mut self, id: i64, finding: Finding, left_out: bool) {
        let group = self.groups.entry(finding.word()).or_default();
        group.left_out = left_out;
        group.count += 1;
        if group.rows.len() < NAMED {
            group.rows.push((id, finding));
        }
    }

    /// `None`: it is left out for what stands in itself.
    pub(super) fn usable<T>(&mut self, id: i64, row: Row<T>) -> Option<T> {
        if !(1..=MAX_ID).contains(&id) {
            self.left_out(id, Finding::BadId);
            return None;
        }
        row.map_err(|column| self.left_out(id, Finding::BadValue(column)))
            .ok()
    }

    pub fn left_out_count(&self) -> u64 {
        let left_out = self.groups.values().filter(|group| group.left_out);
        left_out.map(|group| group.count).sum()
    }
}

#[derive(Debug, Default)]
pub struct Report {
    pub tables: Vec<TableReport>,
    pub remarks: Vec<Remark>,
}

impl Report {
    pub(super) fn new(remarks: &[Remark]) -> Self {
        let names = [
            User::NAME,
            Token::NAME,
            Profile::NAME,
            Room::NAME,
            Participant::NAME,
            Invitation::NAME,
            Message::NAME,
            ReadMark::NAME,
            File::NAME,
            Attachment::NAME,
        ];
        let table = |name| TableReport {
            name,
            ..TableReport::default()
        };
        Report {
            tables: names.map(table).into(),
            remarks: remarks.to_vec(),
        }
    }

    pub(super) fn table<T: Table>(&mut self) -> &mut TableReport {
        let at = self.tables.iter().position(|table| table.name == T::NAME);
        let at = at.unwrap_or_else(|| {
            self.tables.push(TableReport {
                name: T::NAME,
                ..TableReport::default()
            });
            self.tables.len() - 1
        });
        &mut self.tables[at]
    }
}
