//! Listing: whole, by pages, by cursor, under change; never a temp name.

use std::collections::BTreeSet;

use portreeve_model::{Name, VPath};

use super::{
    Room, Stop,
    room::{bytes, fails, same},
};
use crate::{FsErrorKind, Listing, Removal, WriteMode};

/// Makes `count` files; the n-th has n bytes.
async fn fill(room: &Room, dir: &VPath, count: usize) -> Result<BTreeSet<Name>, Stop> {
    let mut names = BTreeSet::new();
    for i in 0..count {
        let name = Name::new(format!("file-{i:04}").into_bytes()).map_err(Stop::fail)?;
        room.put(&dir.join(&name).map_err(Stop::fail)?, &vec![b'x'; i])
            .await?;
        names.insert(name);
    }
    Ok(names)
}

async fn page(listing: &mut dyn Listing, max: usize) -> Result<Vec<Name>, Stop> {
    let entries = listing.next(max).await?;
    if entries.len() > max {
        return Err(Stop::fail(format_args!(
            "{} entries where at most {max} were asked",
            entries.len()
        )));
    }
    let names = entries.into_iter().map(|entry| entry.name);
    names
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Stop::fail("an entry without a name"))
}

async fn rest(listing: &mut dyn Listing, max: usize) -> Result<Vec<Name>, Stop> {
    let mut all = Vec::new();
    loop {
        let names = page(listing, max).await?;
        if names.is_empty() {
            return Ok(all);
        }
        all.extend(names);
    }
}

pub(super) async fn whole(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let dir = room.a_dir("whole").await?;
    let before: BTreeSet<Name> = room.list(&room.cx, &dir).await?.into_keys().collect();
    let made = fill(room, &dir, 25).await?;
    let want: BTreeSet<Name> = before.union(&made).cloned().collect();
    for max in [1, 7, 25, 1_000] {
        let got = rest(&mut *room.fs.list(&room.cx, &dir, None).await?, max).await?;
        same(got.len(), want.len(), &format!("entries in pages of {max}"))?;
        same(got.into_iter().collect(), want.clone(), "names")?;
    }
    for (name, entry) in room
        .list(&room.cx, &dir)
        .await?
        .iter()
        .filter(|(name, _)| made.contains(name))
    {
        let path = dir.join(name).map_err(Stop::fail)?;
        let stat = room.fs.stat(&room.cx, &path, crate::Links::Keep).await?;
        same(entry.size, stat.size, "size in the listing")?;
        same(entry.kind, stat.kind, "kind in the listing")?;
    }
    Ok(())
}

pub(super) async fn by_cursor(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let dir = room.a_dir("pages").await?;
    fill(room, &dir, 23).await?;
    let want = rest(&mut *room.fs.list(&room.cx, &dir, None).await?, 100)
        .await?
        .len();
    let mut got = Vec::new();
    let mut from = None;
    loop {
        let mut listing = room.fs.list(&room.cx, &dir, from).await?;
        let names = page(&mut *listing, 5).await?;
        if names.is_empty() {
            break;
        }
        got.extend(names);
        from = listing.cursor();
        if from.is_none() {
            return Err(Stop::Skip("cursors"));
        }
    }
    same(got.len(), want, "entries by cursor")?;
    same(
        got.into_iter().collect::<BTreeSet<_>>().len(),
        want,
        "names by cursor",
    )
}

pub(super) async fn under_change(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    room.need(room.caps.remove, "remove")?;
    let dir = room.a_dir("changing").await?;
    let made = fill(room, &dir, 60).await?;
    let mut listing = room.fs.list(&room.cx, &dir, None).await?;
    let mut got = page(&mut *listing, 10).await?;
    // Every other file goes, among them such as were told already; new ones come.
    let goes: BTreeSet<Name> = made.iter().step_by(2).cloned().collect();
    for name in &goes {
        room.fs
            .remove(&room.cx, &dir.join(name).map_err(Stop::fail)?, Removal::File)
            .await?;
    }
    for i in 0..10 {
        room.put(&dir.resolve(format!("another-{i}")).map_err(Stop::fail)?, b"x")
            .await?;
    }
    let cursor = listing.cursor();
    got.extend(rest(&mut *listing, 7).await?);
    told_once(&got, &made, &goes)?;
    if let Some(cursor) = cursor {
        let mut again = room.fs.list(&room.cx, &dir, Some(cursor)).await?;
        let mut resumed: Vec<Name> = got.iter().take(10).cloned().collect();
        resumed.extend(rest(&mut *again, 100).await?);
        told_once(&resumed, &made, &goes)?;
    }
    Ok(())
}

/// That no name is told twice and that none that stayed is missing.
fn told_once(got: &[Name], made: &BTreeSet<Name>, goes: &BTreeSet<Name>) -> Result<(), Stop> {
    let unique: BTreeSet<Name> = got.iter().cloned().collect();
    same(unique.len(), got.len(), "names told once")?;
    let missing: Vec<&Name> = made
        .difference(goes)
        .filter(|name| !unique.contains(*name))
        .collect();
    same(missing, Vec::new(), "names that stayed and are missing")
}

pub(super) async fn no_dots(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let dir = room.a_dir("clean").await?;
    let before: Vec<Name> = room.list(&room.cx, &dir).await?.into_keys().collect();
    let path = dir.resolve("being-written").map_err(Stop::fail)?;
    let file = room.writer(&path, WriteMode::Replace).await?;
    file.write(0, bytes(b"x")).await?;
    file.sync().await?;
    for cx in [&room.cx, &room.other] {
        let during: Vec<Name> = room.list(cx, &dir).await?.into_keys().collect();
        same(during, before.clone(), "names while a file is written")?;
    }
    file.commit().await?;
    let after = room.list(&room.cx, &dir).await?.len();
    same(after, before.len() + 1, "entries after commit")
}

pub(super) async fn many(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let dir = room.a_dir("many").await?;
    let before = room.list(&room.cx, &dir).await?.len();
    fill(room, &dir, 400).await?;
    let got = rest(&mut *room.fs.list(&room.cx, &dir, None).await?, 64).await?;
    same(got.len(), before + 400, "entries")?;
    same(
        got.into_iter().collect::<BTreeSet<_>>().len(),
        before + 400,
        "names",
    )
}

pub(super) async fn wrong_kinds(room: &Room) -> Result<(), Stop> {
    let missing = room.path("not-there")?;
    fails(
        room.fs.list(&room.cx, &missing, None).await.map(drop),
        &[FsErrorKind::NotFound],
    )?;
    let file = match room.stage().sample() {
        Some((path, _)) => path,
        None => {
            room.need_write()?;
            let path = room.path("a-file")?;
            room.put(&path, b"x").await?;
            path
        }
    };
    fails(
        room.fs.list(&room.cx, &file, None).await.map(drop),
        &[FsErrorKind::NotDir],
    )
    .map(drop)
}
