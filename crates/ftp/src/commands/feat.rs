//! FEAT (RFC 2389, section 3): what goes beyond RFC 959.

use super::{Answer, Step};
use crate::{control::Client, wire::Reply};

pub(super) async fn run(client: &mut Client, _: &[u8]) -> Answer {
    let mut lines: Vec<String> = ["AUTH TLS", "AVBL", "CLNT", "CSID", "EPRT", "EPSV"]
        .map(str::to_owned)
        .to_vec();
    lines.push(client.algorithm.feature());
    lines.extend(["HOST", "LANG EN*", "MDTM", "MFMT"].map(str::to_owned));
    lines.push(client.facts.feature());
    lines.extend(
        [
            "PBSZ",
            "PROT",
            "REST STREAM",
            "SITE CHMOD",
            "SITE UTIME",
            "SIZE",
            "TVFS",
            "UTF8",
            "XCRC",
            "XMD5",
            "XSHA256",
            "XSHA512",
        ]
        .map(str::to_owned),
    );
    let reply = lines.into_iter().fold(Reply::new(211, "Features:"), Reply::with);
    Ok(Step::Say(reply))
}
