//! The command-line program: its output and its exit code.

#![cfg(feature = "cli")]

mod program {
    mod contents;
    mod options;
    mod toml;

    use std::path::{Path, PathBuf};
    use std::process::Command;

    /// A folder with files. Each test has its own.
    pub(crate) struct Folder(PathBuf);

    pub(crate) struct Ended {
        pub(crate) code: Option<i32>,
        pub(crate) out: String,
        pub(crate) error: String,
    }

    impl Folder {
        pub(crate) fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{error}"));
            let folder = Self(path);
            for (name, text) in files {
                folder.write(name, text.as_bytes());
            }
            folder
        }

        /// Adds files in a subfolder.
        pub(crate) fn write_below(&self, name: &str, files: &[(&str, &str)]) {
            let path = self.0.join(name);
            std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{error}"));
            for (file, text) in files {
                self.write(&format!("{name}/{file}"), text.as_bytes());
            }
        }

        pub(crate) fn write(&self, name: &str, contents: &[u8]) {
            std::fs::write(self.0.join(name), contents).unwrap_or_else(|error| panic!("{error}"));
        }

        /// Runs the program in the folder. Blanks separate the arguments.
        pub(crate) fn run(&self, arguments: &str) -> Ended {
            let output = Command::new(env!("CARGO_BIN_EXE_wgsl-sanitizer"))
                .current_dir(&self.0)
                .args(arguments.split_whitespace())
                .output()
                .unwrap_or_else(|error| panic!("{error}"));
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Ended {
                code: output.status.code(),
                out: text(&output.stdout),
                error: text(&output.stderr),
            }
        }

        /// Runs the program with arguments that contain a mistake, and returns its error message.
        pub(crate) fn mistake(&self, arguments: &str) -> String {
            let ended = self.run(arguments);
            assert_eq!(
                (ended.code, &*ended.out),
                (Some(2), ""),
                "{arguments}: {}",
                ended.error
            );
            ended.error
        }
    }
}
