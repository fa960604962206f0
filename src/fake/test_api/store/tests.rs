use super::*;

fn user(id: &str) -> User {
    User {
        user_id: id.to_owned(),
        is_active: true,
        ..data::users(1).remove(0)
    }
}

fn counts(database: &Tables) -> [u32; 3] {
    [None, Some(true), Some(false)].map(|flag| database.users.count(flag))
}

#[tokio::test]
async fn counts_and_lists_follow_every_write() {
    let database = Tables::open(&Store::Memory, 1).unwrap();
    let listed = async |flag| {
        let list = database.users.list(flag).await.unwrap();
        u32::try_from(serde_json::from_slice::<Vec<serde_json::Value>>(&list).unwrap().len()).unwrap()
    };
    let check = async |expected: [u32; 3]| {
        assert_eq!(counts(&database), expected);
        assert_eq!(
            [listed(None).await, listed(Some(true)).await, listed(Some(false)).await],
            expected
        );
    };
    check([639, 2, 637]).await;
    database.users.create(user("a")).await.unwrap();
    check([640, 3, 637]).await;
    database.users.finish("a").await.unwrap();
    database.users.finish("a").await.unwrap();
    database.users.finish("nobody").await.unwrap();
    check([640, 2, 638]).await;
    database.users.delete("a").await.unwrap();
    database.users.delete("a").await.unwrap();
    check([639, 2, 637]).await;
    assert!(database.users.find("a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_file_keeps_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::File(directory.path().join("rows.db"));
    let first = Tables::open(&store, 1).unwrap();
    first.users.create(user("a")).await.unwrap();
    let second = Tables::open(&store, 2).unwrap();
    assert!(Arc::ptr_eq(&first, &second), "one process shares one file");
    drop((first, second));
    let again = Tables::open(&store, 2).unwrap();
    assert_eq!(counts(&again), [640, 3, 637]);
    assert_eq!(again.users.find("a").await.unwrap().unwrap().user_id, "a");
}

#[tokio::test]
async fn a_full_store_refuses_and_recovers() {
    let database = Tables::open(&Store::Memory, 1).unwrap();
    let large = |id: String| User {
        description: Some("x".repeat(1 << 20)),
        ..user(&id)
    };
    let mut created = 0;
    let refused = loop {
        match database.users.create(large(created.to_string())).await {
            Ok(()) => created += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused, StoreError::Full) && (250..256).contains(&created),
        "{refused} after {created}"
    );
    assert_eq!(counts(&database)[0], 639 + created);
    database.users.delete("0").await.unwrap();
    database.users.create(large("0".to_owned())).await.unwrap();
    assert_eq!(counts(&database)[0], 639 + created);
}

#[test]
fn a_database_of_something_else_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE notes (text)")
        .unwrap();
    assert!(matches!(Tables::open(&Store::File(path), 1), Err(OpenError::Foreign)));
}

/// What a killed process leaves behind: the file and its log, without a clean close.
#[tokio::test]
async fn a_file_survives_a_sudden_end() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("rows.db"), directory.path().join("copy.db"));
    let database = Tables::open(&Store::File(path.clone()), 1).unwrap();
    database.users.create(user("a")).await.unwrap();
    std::fs::copy(&path, &copy).unwrap();
    std::fs::copy(
        directory.path().join("rows.db-wal"),
        directory.path().join("copy.db-wal"),
    )
    .unwrap();
    let copy = Tables::open(&Store::File(copy), 1).unwrap();
    assert!(copy.users.find("a").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_writers_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::File(directory.path().join("rows.db"));
    let database = Tables::open(&store, 1).unwrap();
    let writers = (0..8).map(|writer| {
        let database = Arc::clone(&database);
        tokio::spawn(async move {
            for row in 0..50 {
                let id = format!("{writer}-{row}");
                database.users.create(user(&id)).await.unwrap();
                if row % 2 == 0 {
                    database.users.finish(&id).await.unwrap();
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(counts(&database), [1039, 202, 837]);
    drop(database);
    assert_eq!(counts(&Tables::open(&store, 1).unwrap()), [1039, 202, 837]);
}
