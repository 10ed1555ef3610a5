//! The name of a process, under which its connections are listed by RabbitMQ and Postgres.

use std::fs::read_to_string;
use std::process;

/// `hamro-api-4711`: the program and the process id. In a container, where every program is process 1, the name of the host
/// tells processes apart: `hamro-api-3f2a9c`.
pub fn process_name(program: &str) -> String {
    let host = || read_to_string("/proc/sys/kernel/hostname").ok();
    name(program, process::id(), host)
}

fn name(program: &str, id: u32, host: impl FnOnce() -> Option<String>) -> String {
    let host = if id == 1 { host() } else { None };
    match host.as_deref().map(str::trim) {
        Some(host) if !host.is_empty() => {
            // Postgres cuts longer names.
            let host: String = host.chars().filter(char::is_ascii_graphic).take(40).collect();
            format!("{program}-{host}")
        }
        _ => format!("{program}-{id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn the_first_process_of_a_container_has_the_name_of_its_host() {
        assert_eq!(name("hamro-api", 4711, || Some("web".to_owned())), "hamro-api-4711");
        assert_eq!(name("hamro-api", 1, || Some("3f2a9c\n".to_owned())), "hamro-api-3f2a9c");
        assert_eq!(name("hamro-api", 1, || None), "hamro-api-1");
        assert_eq!(name("hamro-api", 1, || Some("\n".to_owned())), "hamro-api-1");
    }
}
