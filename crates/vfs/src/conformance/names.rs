//! Names: whatever bytes a storage says it holds come back as they were; the rest is refused.

use portreeve_model::Name;

use super::{
    Room, Stop,
    room::{fails, same, same_bytes},
};
use crate::{FsErrorKind, Names, Removal, Rename};

const HOSTILE: &[&str] = &[
    "line\nbreak",
    "carriage\rreturn",
    "tab\there",
    "\u{1f4e6} box \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "quote\"'`$(x)",
    "-rf",
    "--",
    ".hidden",
    "..hidden",
    "...",
    " leading and trailing ",
    "back\\slash",
    "per%2Fcent",
    "star*?[x]{y}",
    "semi;colon&amp|pipe",
    "con",
    "colon:stream",
    "\u{e9}",
    "e\u{301}",
    "\u{202e}txt.exe",
    "esc\u{1b}[2J",
    "UPPER",
    "upper",
    "~",
    "~user",
    "#file#",
    "file.part",
];

pub(super) async fn hostile(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let dir = room.a_dir("hostile").await?;
    let before = room.list(&room.cx, &dir).await?.len();
    let mut made = Vec::new();
    for raw in HOSTILE {
        let name = Name::new(raw.as_bytes()).map_err(Stop::fail)?;
        let path = dir.join(&name).map_err(Stop::fail)?;
        match room.put(&path, raw.as_bytes()).await {
            Ok(_) => made.push((name, path, raw)),
            // A storage may refuse a name, in so many words; it may not bend it.
            Err(e) if e.kind() == FsErrorKind::InvalidName => room.absent(&path).await?,
            Err(e) => return Err(Stop::fail(format_args!("{name}: {:?} {e}", e.kind()))),
        }
    }
    let listed = room.list(&room.cx, &dir).await?;
    same(listed.len(), before + made.len(), "number of entries")?;
    for (name, path, raw) in &made {
        same(listed.contains_key(name), true, &format!("{name} is listed"))?;
        same_bytes(&room.get(path).await?, raw.as_bytes())?;
    }
    // A storage of bytes takes them all; another may have rules of its own, but takes some.
    let least = if room.caps.names == Names::Bytes {
        HOSTILE.len()
    } else {
        1
    };
    same(made.len() >= least, true, "enough of the names are taken")?;
    if room.caps.remove {
        for (_, path, _) in &made {
            room.fs.remove(&room.cx, path, Removal::File).await?;
        }
        same(
            room.list(&room.cx, &dir).await?.len(),
            before,
            "entries after removing all",
        )?;
    }
    Ok(())
}

pub(super) async fn longest(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let max = room.caps.max_name.min(255);
    let longest = room.path("n".repeat(max))?;
    room.put(&longest, b"long").await?;
    room.holds(&longest, b"long").await?;
    let listed = room.list(&room.cx, &room.base).await?;
    let there = longest.file_name().is_some_and(|name| listed.contains_key(&name));
    same(there, true, "the longest name is listed")?;
    if room.caps.resume {
        room.leave(&room.path("p".repeat(max))?, b"12345").await?;
    }
    if room.caps.rename {
        let other = room.path("\u{e9}".repeat(max / 2))?;
        room.fs
            .rename(&room.cx, &longest, &other, Rename::NoReplace)
            .await?;
        room.holds(&other, b"long").await?;
    }
    if room.caps.directories {
        room.make_dir(&room.path("d".repeat(max))?).await?;
    }
    if max < 255 {
        let longer = room.path("l".repeat(max + 1))?;
        fails(room.put(&longer, b"x").await, &[FsErrorKind::InvalidName])?;
    }
    Ok(())
}

pub(super) async fn not_utf8(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    let raw = b"latin-\xe9\xff";
    let path = room.path(raw)?;
    if room.caps.names == Names::Utf8 {
        fails(room.put(&path, b"x").await, &[FsErrorKind::InvalidName])?;
        if room.caps.directories {
            fails(room.make_dir(&path).await, &[FsErrorKind::InvalidName])?;
        }
        return room.absent(&path).await;
    }
    room.put(&path, b"bytes").await?;
    room.holds(&path, b"bytes").await?;
    let listed = room.list(&room.cx, &room.base).await?;
    let name = Name::new(&raw[..]).map_err(Stop::fail)?;
    same(listed.contains_key(&name), true, "listed byte for byte")
}

pub(super) async fn deep(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    room.need(room.caps.directories, "directories")?;
    let mut dir = room.base.clone();
    let part = Name::new(&b"a-directory-with-a-longish-name"[..]).map_err(Stop::fail)?;
    for depth in 0..60 {
        let deeper = dir.join(&part).map_err(Stop::fail)?;
        match room.make_dir(&deeper).await {
            // A storage with rules of its own may say how deep it goes.
            Err(e) if e.kind() == FsErrorKind::InvalidName && room.caps.names == Names::Utf8 && depth > 2 => {
                break;
            }
            end => end?,
        }
        dir = deeper;
    }
    let file = dir.resolve("file").map_err(Stop::fail)?;
    room.put(&file, b"deep").await?;
    room.holds(&file, b"deep").await?;
    same(room.list(&room.cx, &dir).await?.len(), 1, "entries at the bottom")?;
    fails(
        room.fs
            .remove(&room.cx, &room.path(part.as_bytes())?, Removal::Dir)
            .await,
        &[FsErrorKind::NotEmpty],
    )
    .map(drop)
}

pub(super) async fn like_temp_names(room: &Room) -> Result<(), Stop> {
    room.need_write()?;
    // What uploaders commonly use; the reserved prefix of a backend may be among them or not.
    for name in [
        ".portreeve",
        ".portreeve-tmp",
        ".~lock",
        ".upload.tmp",
        ".in.x.",
        "x.filepart",
    ] {
        let path = room.path(name)?;
        match room.put(&path, b"x").await {
            Ok(_) => room.holds(&path, b"x").await?,
            Err(e) => drop(fails::<()>(
                Err(e),
                &[FsErrorKind::InvalidName, FsErrorKind::Refused],
            )?),
        }
    }
    Ok(())
}
