//! Released migrations do not change: a database stores the checksum of each that it has applied, and no program starts
//! on it that contains other bytes, be it only other line ends.

use hamro_shared::database::MIGRATOR;

/// The versions and checksums (SHA-384) of all migrations, in order. Add a line for a new migration. Never change the
/// line of a released one.
const RELEASED: [(&str, &str); 6] = [
    (
        "20261122000001",
        "b927ab4f3ed02d5cc003f10bda6cd2095d113953f6e1afeeca0b664868a46316c485e7d701706f17d567d09ef3e7bc2a",
    ),
    (
        "20261122000002",
        "56ed18997bb3ff296e767b103d3a8e702bf62061938643af530445abd28db05702da54cce5eb72ec330ff6cafdbe3e10",
    ),
    (
        "20261124000001",
        "11d48935f66d338c8d126c25a1aab3100086c677e0263a7832a234d46bcc06614c671b43b3d4d055153ca9d90eeb13c2",
    ),
    (
        "20261125000001",
        "4f3dc8c305a7225a7c54feeb5dce3050d209bd2576555ad402f28dea72eb565b0b8e0da28e3a0f02786796d8bab606a1",
    ),
    (
        "20261126000001",
        "017c81a4ec7730ee621ef9ce9cb803b25b0d00525c04252ca184835708345fac8dd9ed37f3dedf1eb0a9a9364d0ca58c",
    ),
    (
        "20261127000001",
        "9f5170ebefd6adeef45506ce6f5a76382cf94838d22a8b637794be037ed6664cb46455e894b1a628871b4954004a0990",
    ),
];

#[test]
fn a_released_migration_has_the_checksum_that_databases_have_stored() {
    for (version, released) in RELEASED {
        let migration = MIGRATOR.iter().find(|migration| migration.version.to_string() == version);
        let migration = migration.unwrap_or_else(|| panic!("the released migration {version} is missing"));
        assert!(
            !migration.sql.as_str().contains('\r'),
            "migration {version} has Windows line ends, which change its checksum: check it out again with .gitattributes"
        );
        assert_eq!(
            hex::encode(&*migration.checksum),
            released,
            "migration {version} was changed after its release: restore it, and add another migration"
        );
    }
}

#[test]
fn the_checksum_of_every_migration_is_recorded() {
    for migration in MIGRATOR.iter() {
        let (version, checksum) = (migration.version.to_string(), hex::encode(&*migration.checksum));
        let is_recorded = RELEASED.iter().any(|(released, _)| *released == version);
        assert!(is_recorded, "add to RELEASED:\n    (\"{version}\", \"{checksum}\"),");
    }
}
