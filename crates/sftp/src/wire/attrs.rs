//! ATTRS (draft-ietf-secsh-filexfer-02 §5): what is known of a file, and what is to be set.

use super::inbox::{Fields, Short};

const SIZE: u32 = 1;
const UIDGID: u32 = 2;
const PERMISSIONS: u32 = 4;
const ACMODTIME: u32 = 8;
const EXTENDED: u32 = 0x8000_0000;

/// The fields of ATTRS; `None` is a field that is not there. Extended pairs are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WireAttrs {
    /// Bytes.
    pub size: Option<u64>,
    /// Numeric owner and group.
    pub owner: Option<(u32, u32)>,
    /// File type and permission bits, as in `st_mode`.
    pub permissions: Option<u32>,
    /// Last access and last change, in seconds since 1970.
    pub times: Option<(u32, u32)>,
}

impl WireAttrs {
    pub(super) fn parse(fields: &mut Fields<'_>) -> Result<Self, Short> {
        let flags = fields.u32()?;
        let mut attrs = Self::default();
        if flags & SIZE != 0 {
            attrs.size = Some(fields.u64()?);
        }
        if flags & UIDGID != 0 {
            attrs.owner = Some((fields.u32()?, fields.u32()?));
        }
        if flags & PERMISSIONS != 0 {
            attrs.permissions = Some(fields.u32()?);
        }
        if flags & ACMODTIME != 0 {
            attrs.times = Some((fields.u32()?, fields.u32()?));
        }
        if flags & EXTENDED != 0 {
            // The count is the client's word: the end of the packet bounds the loop.
            for _ in 0..fields.u32()? {
                fields.string()?;
                fields.string()?;
            }
        }
        Ok(attrs)
    }

    /// Appends the wire form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flag = |on: bool, bit: u32| if on { bit } else { 0 };
        let flags = flag(self.size.is_some(), SIZE)
            | flag(self.owner.is_some(), UIDGID)
            | flag(self.permissions.is_some(), PERMISSIONS)
            | flag(self.times.is_some(), ACMODTIME);
        out.extend_from_slice(&flags.to_be_bytes());
        if let Some(size) = self.size {
            out.extend_from_slice(&size.to_be_bytes());
        }
        if let Some((a, b)) = self.owner {
            out.extend_from_slice(&a.to_be_bytes());
            out.extend_from_slice(&b.to_be_bytes());
        }
        if let Some(permissions) = self.permissions {
            out.extend_from_slice(&permissions.to_be_bytes());
        }
        if let Some((a, b)) = self.times {
            out.extend_from_slice(&a.to_be_bytes());
            out.extend_from_slice(&b.to_be_bytes());
        }
    }
}
