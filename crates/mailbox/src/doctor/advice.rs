//! What to run: PowerShell for Exchange Online, with the app and the mailbox filled in.
//!
//! Sources: Microsoft, "Role Based Access Control for Applications in Exchange Online";
//! "Test-ServicePrincipalAuthorization"; "New-ApplicationAccessPolicy" (which RBAC replaces); "Authenticate an
//! IMAP, POP or SMTP connection using OAuth".

/// Why a permission that was just given may not be there yet.
pub(super) const WAIT: &str =
    "permission changes may take up to 2 hours; the Test cmdlets do not wait for them";

const CONNECT: &str = "Connect-ExchangeOnline";

/// Only characters that mean nothing to PowerShell within quotes.
fn quoted(text: &str) -> String {
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || "@._+-{}".contains(*c));
    format!("'{}'", kept.collect::<String>())
}

fn principal(app: &str) -> String {
    format!(
        "New-ServicePrincipal -AppId {} -ObjectId '<object id of the ENTERPRISE application, not of the app registration>' \
         -DisplayName 'portreeve'",
        quoted(app)
    )
}

/// Lets the app into one group of mailboxes: RBAC for Applications first, the legacy policy after it.
pub(super) fn let_in(app: &str, address: &str, role: &str) -> Vec<String> {
    let (app_id, mailbox) = (quoted(app), quoted(address));
    vec![
        CONNECT.to_owned(),
        principal(app),
        "New-ManagementScope -Name 'portreeve' -RecipientRestrictionFilter \"MemberOfGroup -eq '<distinguished name of \
         the group that holds the mailboxes>'\""
            .to_owned(),
        format!(
            "New-ManagementRoleAssignment -App {app_id} -Role 'Application {role}' -CustomResourceScope 'portreeve'"
        ),
        test(app, address),
        format!(
            "legacy, where the app has an administrator's consent in Entra: New-ApplicationAccessPolicy -AppId {app_id} \
             -PolicyScopeGroupId '<mail address of the group>' -AccessRight RestrictAccess -Description 'portreeve'"
        ),
        format!("legacy: Test-ApplicationAccessPolicy -Identity {mailbox} -AppId {app_id}"),
        WAIT.to_owned(),
    ]
}

/// Asks Exchange what the app may do with a mailbox.
pub(super) fn test(app: &str, address: &str) -> String {
    format!(
        "Test-ServicePrincipalAuthorization -Identity {} -Resource {} | Format-Table",
        quoted(app),
        quoted(address)
    )
}

/// Takes back what opens every mailbox.
pub(super) fn narrow(app: &str, outside: Option<&str>) -> Vec<String> {
    let other = outside.map_or_else(|| "'<a mailbox that must be refused>'".to_owned(), quoted);
    vec![
        "in Entra, API permissions of the app registration: take away the application permissions of Graph that \
         begin with Mail. together with their consent, once RBAC for Applications grants what is needed"
            .to_owned(),
        format!("Get-ManagementRoleAssignment -App {} | Format-List Role,CustomResourceScope", quoted(app)),
        format!("legacy: Test-ApplicationAccessPolicy -Identity {other} -AppId {}", quoted(app)),
        format!("portreeve doctor --outside {other}"),
        WAIT.to_owned(),
    ]
}

/// Lets the app into a mailbox by IMAP.
pub(super) fn let_in_by_imap(app: &str, address: &str) -> Vec<String> {
    vec![
        "in Entra, API permissions of the app registration: Office 365 Exchange Online, application permission \
         IMAP.AccessAsApp, with an administrator's consent"
            .to_owned(),
        CONNECT.to_owned(),
        principal(app),
        format!(
            "Add-MailboxPermission -Identity {} -User '<object id of the ENTERPRISE application>' -AccessRights FullAccess",
            quoted(address)
        ),
        format!("Get-MailboxPermission -Identity {} | Format-Table User,AccessRights", quoted(address)),
        format!("Get-CASMailbox -Identity {} | Format-List ImapEnabled", quoted(address)),
        WAIT.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_cannot_end_its_quotes() {
        let all = [
            let_in("a'; Remove-Mailbox x", "b\"`$(x)@y", "Mail.ReadWrite"),
            narrow("a' -x", Some("o'x@y")),
            let_in_by_imap("app", "b'@y"),
        ];
        for line in all.concat() {
            assert!(
                !line.contains("'; ") && !line.contains('`') && !line.contains("$("),
                "{line}"
            );
        }
    }

    #[test]
    fn rbac_comes_before_the_legacy_policy() {
        let lines = let_in("app", "box@x", "Mail.ReadWrite").join("\n");
        let at = |text: &str| lines.find(text).unwrap();
        assert!(at("New-ServicePrincipal") < at("New-ManagementRoleAssignment"));
        assert!(at("Test-ServicePrincipalAuthorization") < at("New-ApplicationAccessPolicy"));
        assert!(lines.contains("up to 2 hours"));
    }
}
