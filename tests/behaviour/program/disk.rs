//! A store whose disk is full or read-only. The disk is a small one in memory, which only root can have.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::home::{self, Home};
use crate::support::world::Database;

/// A mounted disk in memory, unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    #[expect(clippy::print_stderr, reason = "a test that did not run says so, under --nocapture")]
    fn mount(at: PathBuf) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not run: only root can mount a disk");
            return None;
        }
        fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&at).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            eprintln!("not run: this root may not mount a disk");
            return None;
        }
        Some(Self(at))
    }

    fn is_read_only(&self, read_only: bool) {
        let options = if read_only { "remount,ro" } else { "remount,rw" };
        assert!(Command::new("mount").args(["-o", options]).arg(&self.0).status().unwrap().success());
    }

    /// Fills it to the last byte.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = fs::File::create(&path).unwrap();
        while file.write(&[0; 4096]).is_ok_and(|length| length > 0) {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// This home's accounts on the server.
async fn accounts(database: &Database) -> Vec<String> {
    home::accounts(database, database.server.unwrap()).await
}

/// Moves a home's store to a disk.
fn on_disk(home: &Home, directory: &Path) {
    home.replace("path = \"mayfly.db\"", &format!("path = \"{}\"", directory.join("mayfly.db").display()));
}

#[tokio::test]
async fn a_full_disk_refuses_and_issues_nothing_until_there_is_room() {
    let home = Home::everywhere().await;
    let Some(disk) = Disk::mount(home.path("disk")) else { return };
    on_disk(&home, &disk.0);
    let served = home.serve().await;
    let app = served.app().await;
    let mut before = Vec::new();
    for database in &home.databases {
        before.push(app.issue(&format!("{}-read", database.engine), &[]).await);
    }
    let filler = disk.fill();
    for (database, before) in home.databases.iter().zip(&before) {
        let refused = app.mayfly(&["creds", &format!("{}-read", database.engine)]).await;
        let words = refused.refused(8);
        assert!(words.contains("cannot write its records") && words.contains("try again"), "{words}");
        app.mayfly(&["lease", "renew", &before.lease]).await.refused(8);
        assert_eq!(accounts(database).await, std::slice::from_ref(&before.account));
    }
    fs::remove_file(filler).unwrap();
    for (database, before) in home.databases.iter().zip(&before) {
        app.issue(&format!("{}-read", database.engine), &[]).await;
        app.mayfly(&["lease", "release", &before.lease, "--wait"]).await.ok();
        assert_eq!(accounts(database).await.len(), 1);
    }
    served.stop().await;
    let store = disk.0.join("mayfly.db").display().to_string();
    home.shell().mayfly(&["audit", "verify", "--store", &store]).await.ok();
}

#[tokio::test]
async fn a_read_only_disk_is_told_at_the_start() {
    let home = Home::bare();
    let Some(disk) = Disk::mount(home.path("disk")) else { return };
    on_disk(&home, &disk.0);
    home.serve().await.stop().await;
    disk.is_read_only(true);
    let ended = home.start().ended().await;
    assert_eq!((ended.code(), &*ended.out), (1, ""), "{ended:?}");
    assert!(ended.err.contains("Read-only file system"), "{ended:?}");
    disk.is_read_only(false);
    home.serve().await.stop().await;
}
