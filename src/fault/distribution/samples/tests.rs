use super::*;

const PLAIN: SampleFormat = SampleFormat {
    column: None,
    weights: None,
    unit: SampleUnit::Milliseconds,
    longest: Duration::from_secs(3600),
};

fn named(column: &str) -> SampleFormat {
    SampleFormat {
        column: Some(Column::Name(column.to_owned())),
        ..PLAIN
    }
}

/// The values in milliseconds, or the error.
fn check(content: &str, format: &SampleFormat) -> Result<Vec<f64>, String> {
    let samples = read_samples("f.csv", content.as_bytes(), format)?;
    Ok(samples.values.iter().map(|nanos| nanos / 1e6).collect())
}

#[test]
fn plain_text_has_one_value_a_line() {
    assert_eq!(check("30\n10\n20.5\n", &PLAIN).unwrap(), [10.0, 20.5, 30.0]);
    assert_eq!(
        check("# from production\r\n\r\n12ms\r\n1.5s\r\n3us", &PLAIN).unwrap(),
        [0.003, 12.0, 1500.0]
    );
    assert_eq!(check("\u{feff}latency\n1e2\n0.3\n", &PLAIN).unwrap(), [0.3, 100.0]);
    let seconds = SampleFormat {
        unit: SampleUnit::Seconds,
        ..PLAIN
    };
    assert_eq!(check("0.25\n7ms", &seconds).unwrap(), [7.0, 250.0]);
}

#[test]
fn csv_columns_go_by_name_or_number() {
    let csv = "time,latency ms,status\n12:00,5,200\n12:01,\"7\",500\n";
    assert_eq!(check(csv, &named("latency ms")).unwrap(), [5.0, 7.0]);
    let second = SampleFormat {
        column: Some(Column::Number(2)),
        ..PLAIN
    };
    assert_eq!(check(csv, &second).unwrap(), [5.0, 7.0]);
    assert_eq!(check("a;\"b;c\"\n1;2\n", &named("b;c")).unwrap(), [2.0]);
    assert_eq!(check("a\tb\n1\t2\n", &named("b")).unwrap(), [2.0]);
}

#[test]
fn a_histogram_weighs_its_values() {
    let format = SampleFormat {
        weights: Some(Column::Name("count".to_owned())),
        ..PLAIN
    };
    let samples = read_samples("f", b"ms,count\n300,1\n10,8\n20,1\n40,0\n", &format).unwrap();
    let at = |u| samples.quantile_nanos(u) / 1e6;
    assert_eq!(
        [0.01, 0.79, 0.81, 0.89, 0.91, 0.99].map(at),
        [10.0, 10.0, 20.0, 20.0, 300.0, 300.0]
    );
    assert_eq!(samples.len(), 3);
}

#[test]
fn a_draw_is_an_observed_value() {
    let samples = Samples::new(&[3, 1, 2, 2].map(Duration::from_nanos)).unwrap();
    assert_eq!(
        [1e-16, 0.25, 0.26, 0.75, 0.76, 1.0].map(|u| samples.quantile_nanos(u)),
        [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
    );
}

#[test]
fn errors_name_the_file_and_the_line() {
    let refused = |content: &str, format: &SampleFormat| check(content, format).unwrap_err();
    let errors = [
        refused("", &PLAIN),
        refused("# nothing\n", &PLAIN),
        refused("latency\n", &PLAIN),
        refused("1\n2\n\n3x\n", &PLAIN),
        refused("1\n-2\n", &PLAIN),
        refused("1\n2d\n", &PLAIN),
        refused("1\ninf\n", &PLAIN),
        refused("1\nnan\n", &PLAIN),
        refused("1,2\n", &PLAIN),
        refused("a,b\n1,2\n1\n", &named("b")),
        refused("a,b\n1,2\n", &named("c")),
        refused(
            "1,2\n",
            &SampleFormat {
                column: Some(Column::Number(3)),
                ..PLAIN
            },
        ),
        refused(
            "1,2\n",
            &SampleFormat {
                column: Some(Column::Number(0)),
                ..PLAIN
            },
        ),
        refused(
            "1,x\n",
            &SampleFormat {
                weights: Some(Column::Number(2)),
                ..PLAIN
            },
        ),
        read_samples("f.csv", b"1\n2\n\xff\n", &PLAIN).unwrap_err(),
    ];
    let expected = [
        "f.csv: it contains no values",
        "f.csv: it contains no values",
        "f.csv: it contains no values",
        "f.csv, line 4: `x` is not a valid unit of time: use ns, us, ms, s, m, h or d",
        "f.csv, line 2: `-2` is negative: a delay can't be",
        "f.csv, line 2: `2d` is longer than the longest delay of 1h: check `unit`, or cap the delay with `max`",
        "f.csv, line 2: `inf` is longer than the longest delay of 1h: check `unit`, or cap the delay with `max`",
        "f.csv, line 2: `nan` is not a number",
        "f.csv, line 1: there are 2 columns (`1`, `2`): select the delays' column with `column`, by name or number",
        "f.csv, line 3: the value in column 2 is missing",
        "f.csv, line 1: there is no column `c`; the columns are `a`, `b`",
        "f.csv, line 1: there is no column 3; the columns are 1 to 2",
        "f.csv, line 1: there is no column 0; the columns are 1 to 2",
        "f.csv, line 1: `x` is not a valid weight: use a whole number from 0",
        "f.csv, line 3: this is not valid UTF-8",
    ];
    assert_eq!(errors, expected);
}
