//! Runs the broker's binary for tests: on free ports, killed, started again on the same
//! ports, and stopped by its own process id.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Spillwayd {
    binary: PathBuf,
    folder: PathBuf,
    ports: (u16, u16),
    child: Child,
}

impl Spillwayd {
    /// None unless SPILLWAYD names the binary.
    pub async fn start(test: &str) -> Option<Spillwayd> {
        let binary = PathBuf::from(std::env::var_os("SPILLWAYD")?);
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (child, ports) = spawn(&binary, &folder, (0, 0)).await;
        Some(Spillwayd {
            binary,
            folder,
            ports,
            child,
        })
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.0)
    }

    /// Ends the process as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same folder and ports, once it has ended.
    pub async fn restart(&mut self) {
        while self.child.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (self.child, self.ports) = spawn(&self.binary, &self.folder, self.ports).await;
    }

    /// Asks for a clean stop, which drains the streams first.
    pub fn terminate(&self) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Spillwayd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn spawn(binary: &Path, folder: &Path, ports: (u16, u16)) -> (Child, (u16, u16)) {
    let file = folder.join("ports");
    let _ = std::fs::remove_file(&file);
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .unwrap();
    let mut child = Command::new(binary)
        .args(["--listen", &format!("127.0.0.1:{}", ports.0)])
        .args(["--http-listen", &format!("127.0.0.1:{}", ports.1)])
        .arg("--data-dir")
        .arg(folder.join("data"))
        .arg("--ports-file")
        .arg(&file)
        .stdout(Stdio::from(log.try_clone().unwrap()))
        .stderr(Stdio::from(log))
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if let (Some(port), Some(http)) =
            (number(&text, "\"port\""), number(&text, "\"http_port\""))
        {
            return (child, (port, http));
        }
        if let Some(status) = child.try_wait().unwrap() {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            panic!("spillwayd ended at its start, {status}: {log}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _ = child.kill();
    let _ = child.wait();
    panic!("spillwayd did not listen within 30 s");
}

fn number(json: &str, name: &str) -> Option<u16> {
    let (_, after) = json.split_once(name)?;
    let digits: String = after
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().ok()
}
