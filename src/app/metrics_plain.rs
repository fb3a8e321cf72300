//! Figures in the older text format, which everything reads that reads any.

use std::fmt::Write;

/// Of figures in OpenMetrics: there a family of counters is called without `_total`, which its lines have, and other types and
/// units stand that the older format does not know.
pub fn plain(open: &str) -> String {
    let mut plain = String::with_capacity(open.len());
    let mut help = "";
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, text)| text);
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let (end, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            // Nothing can go wrong with a text.
            let _ = writeln!(
                plain,
                "# HELP {name}{end} {help}\n# TYPE {name}{end} {kind}"
            );
        } else if !line.starts_with('#') {
            plain.push_str(line);
            plain.push('\n');
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_called_as_their_lines() {
        let open = "# HELP a_bytes Of it.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total{x=\"# y\"} 3\n\
            # HELP b What.\n# TYPE b info\nb_info{version=\"1\"} 1\n\
            # HELP c How long.\n# TYPE c histogram\nc_sum 1.0\nc_count 2\n# EOF\n";
        let expected = "# HELP a_bytes_total Of it.\n# TYPE a_bytes_total counter\na_bytes_total{x=\"# y\"} 3\n\
            # HELP b_info What.\n# TYPE b_info gauge\nb_info{version=\"1\"} 1\n\
            # HELP c How long.\n# TYPE c histogram\nc_sum 1.0\nc_count 2\n";
        assert_eq!(plain(open), expected);
    }
}
