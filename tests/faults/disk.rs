//! A full disk: refused with 503, nothing lost, service again when there is room again.

use std::path::Path;
use std::process::Command;

use hyper::Method;
use pelton_tests::pelton::Site;
use pelton_tests::subscriber::Subscriber;
use pelton_tests::{eventually, http, skip};

use crate::{BROKER, trigger};

/// A small file system on a loop device, unmounted when dropped.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// `None` where mounting is not allowed.
    fn mount(mebibytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().ok()?;
        let image = folder.path().join("image");
        std::fs::File::create(&image).ok()?.set_len(mebibytes << 20).ok()?;
        let disk = Self { folder };
        let made =
            Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image).status().ok()?.success();
        std::fs::create_dir(disk.mounted()).ok()?;
        let mounted = Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(disk.mounted())
            .status()
            .ok()?
            .success();
        (made && mounted).then_some(disk)
    }

    fn mounted(&self) -> std::path::PathBuf {
        self.folder.path().join("disk")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.mounted()).status();
    }
}

fn fill(folder: &Path) {
    let mut block = 1 << 20;
    let mut number = 0;
    while block >= 4096 {
        if std::fs::write(folder.join(format!("filler-{number}")), vec![1; block]).is_err() {
            block /= 2;
        }
        number += 1;
    }
}

fn free(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("filler-") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount(160) else {
        skip("a loop device cannot be mounted here");
        return;
    };
    let subscriber = Subscriber::start().await;
    let yaml = BROKER.to_owned() + &trigger("t", "load", &subscriber.url("/"), "unordered", "");
    let site = Site::new(&yaml).with("PELTON__LOG__SEGMENT_SIZE", "20MiB");
    let data = disk.mounted().join("data");
    // The data directory of the site lies on the small disk.
    std::os::unix::fs::symlink(&data, site.data()).unwrap();
    std::fs::create_dir(&data).unwrap();
    let pelton = site.start().await;

    let mut accepted = 0;
    let mut connection = http::Connection::open(pelton.ingress).await.unwrap();
    let mut send = async |number: usize| {
        let id = number.to_string();
        let headers =
            [("ce-specversion", "1.0"), ("ce-id", &id), ("ce-source", "/test"), ("ce-type", "load")];
        connection.request(Method::POST, "/default/b", &headers, vec![7; 100_000]).await.unwrap()
    };
    assert_eq!(send(0).await.status, 202);
    accepted += 1;
    fill(&disk.mounted());
    let mut refused = None;
    for number in 1..2_000 {
        let answer = send(number).await;
        if answer.status == 202 {
            accepted += 1;
        } else {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a full disk refuses at last");
    assert_eq!(refused.status, 503);
    assert!(!refused.header("retry-after").is_empty(), "it says when to try again");
    assert_eq!(http::get(pelton.admin, "/readyz").await.status, 503, "not ready while it cannot store");

    free(&disk.mounted());
    eventually("it takes events again", async || {
        let answer = send(100_000).await;
        (answer.status == 202).then_some(())
    })
    .await;
    accepted += 1;
    eventually("every accepted event arrives", async || (subscriber.count() >= accepted).then_some(())).await;
    assert_eq!(subscriber.count(), accepted, "what was refused is not delivered");
    assert!(pelton.stop().await);
}
