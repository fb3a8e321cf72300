//! REST: invitations to rooms.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, User, answer, keys};

struct Link(String);

impl Link {
    async fn to(room: i64, by: &User<'_>, body: Value) -> Self {
        let invited = by.done(&format!("/api/rooms/{room}/invite/"), body).await;
        Link(invited["token"].as_str().unwrap().to_owned())
    }

    fn path(&self) -> String {
        format!("/api/rooms/join/{}/", self.0)
    }
}

#[tokio::test]
async fn an_invitation_lets_in_as_many_as_it_says() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let link = Link::to(room, &ann, json!({"max_uses": 2})).await;
    let names = ["b1", "b2", "b3", "b4", "b5", "b6"];
    let mut users = Vec::new();
    for name in names {
        users.push(server.user(name).await);
    }
    let path = link.path();
    let all = users.iter().map(|user| user.post(&path, json!({})));
    let answers = futures_util::future::join_all(all).await;
    let entered = answers.iter().filter(|(status, _)| *status == 200).count();
    assert_eq!(entered, 2, "{answers:?}");
    for (status, answered) in answers.iter().filter(|(status, _)| *status != 200) {
        assert_eq!((*status, keys(answered)), (400, vec!["code", "invitation"]));
    }
    assert_eq!(ann.get(&path).await.0, 400, "used up");
    let (_, listed) = ann.get(&format!("/api/rooms/{room}/invitations/")).await;
    assert_eq!(listed, json!([]));

    // Who is in already uses nothing up.
    let link = Link::to(room, &ann, json!({"max_uses": 1})).await;
    ann.done(&link.path(), json!({})).await;
    let (_, listed) = ann.get(&format!("/api/rooms/{room}/invitations/")).await;
    assert_eq!(
        (&listed[0]["uses"], &listed[0]["max_uses"]),
        (&json!(0), &json!(1))
    );

    for wrong in [json!(0), json!(1001), json!(-1), json!("x"), json!(1.5)] {
        let body = json!({"max_uses": wrong});
        let (status, answered) = ann.post(&format!("/api/rooms/{room}/invite/"), body).await;
        assert_eq!(status, 400, "{wrong}");
        assert_eq!(keys(&answered), ["code", "max_uses"]);
    }
}

#[tokio::test]
async fn invitations_are_listed_and_revoked() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let eve = server.user("eve").await;
    let room = ann.room_with(&[&bob]).await;
    let list = format!("/api/rooms/{room}/invitations/");
    let anns = Link::to(room, &ann, json!({"expires_in_hours": 1})).await;
    let bobs = Link::to(room, &bob, json!({})).await;
    let tokens = |listed: &Value| -> Vec<String> {
        let listed = listed.as_array().unwrap().iter();
        listed
            .map(|one| one["token"].as_str().unwrap().to_owned())
            .collect()
    };
    let (_, all) = ann.get(&list).await;
    assert_eq!(tokens(&all), [bobs.0.clone(), anns.0.clone()]);
    assert_eq!(
        keys(&all[0]),
        [
            "created_at",
            "created_by",
            "expires_at",
            "max_uses",
            "token",
            "uses"
        ]
    );
    assert_eq!(
        tokens(&bob.get(&list).await.1),
        std::slice::from_ref(&bobs.0)
    );
    assert_eq!(eve.get(&list).await.0, 403);

    let revoke = async |by: &User<'_>, link: &Link| {
        answer(by.request(Method::DELETE, &format!("{list}{}/", link.0)))
            .await
            .0
    };
    assert_eq!(revoke(&bob, &anns).await, 404);
    assert_eq!(revoke(&bob, &bobs).await, 204);
    assert_eq!(revoke(&bob, &bobs).await, 404);
    assert_eq!(eve.post(&bobs.path(), json!({})).await.0, 400);
    let preview = eve.get(&anns.path()).await.1;
    assert_eq!(
        keys(&preview),
        ["inviter", "participant_count", "room_name"]
    );
    assert_eq!(
        (
            &preview["room_name"],
            &preview["participant_count"],
            &preview["inviter"]["id"]
        ),
        (&json!("room"), &json!(2), &json!(ann.id))
    );
    assert_eq!(preview["inviter"]["email"], "");
    assert_eq!(revoke(&ann, &Link("x".to_owned())).await, 404);
    assert_eq!(revoke(&ann, &anns).await, 204);
    assert_eq!(eve.get(&anns.path()).await.0, 400);
}

#[tokio::test]
async fn there_are_so_many_invitations_to_a_room() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let path = format!("/api/rooms/{room}/invite/");
    let all = (0..105).map(|_| ann.post(&path, json!({})));
    let answers = futures_util::future::join_all(all).await;
    let made = answers.iter().filter(|(status, _)| *status == 201).count();
    assert_eq!(made, 100);
    let refused = answers.iter().find(|(status, _)| *status != 201).unwrap();
    assert_eq!(
        (refused.0, &refused.1["code"]),
        (403, &json!("too_many_invitations"))
    );
}
