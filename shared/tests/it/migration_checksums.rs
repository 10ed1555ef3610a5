//! Released migrations do not change: a database stores the checksum of each that it has applied, and no program starts
//! on it that contains other bytes, be it only other line ends.

use hamro_shared::database::MIGRATOR;

/// The versions and checksums (SHA-384) of all migrations, in order. Add a line for a new migration. Never change the
/// line of a released one.
const RELEASED: &[(&str, &str)] = &[
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
    (
        "20261128000001",
        "936653c884d0277cf9240e34cff3f6e732ab4ea050eadb5c31989ea7f5785a3ec8e73cd5bffaa1ca97abf8076cdb09a6",
    ),
    (
        "20261128000002",
        "bf1f5bd652b06f251b4da72b6ad70c0842f365cc68a0f4b52727ce2da04dcc6d1b55e388bd053216e5eed555000da431",
    ),
    (
        "20261128000003",
        "5991cb6ac956bf2a9c95b2fb4a6426ed264a79015ce10db12604dcf709db43dc68fb615dfaa63ac076665d7acf76a8db",
    ),
    (
        "20261128000005",
        "28b22bb71c0b6ae7720a5b0b69ec4717a6afa2d629cfd367cae22bdd8fd85d0929c53d2d49010aaa0e1a8d0f304a5d75",
    ),
    (
        "20261128000006",
        "2fd524e97213b998dd1c625be6428e20b9a0b9288c5038e76d6efd3f28110f651334695fa8e5b063c41552126f84eb2d",
    ),
    (
        "20261128000007",
        "95d27163a208154c8e97ca732a7d598ebbf33cfdc86cdd13aeac9e531e343ab1cad2b0d71a2c8008c5cbc539a632143a",
    ),
    (
        "20261129000001",
        "310821743cecc07cd4b38f2b4bb0fe95d76c3b97bf171c9285cd1bc9171dd190abb8ba414bfcddaa27e3edd9ce5584bd",
    ),
    (
        "20261129000002",
        "da2cd6edc452405b1218e27d79f4003822c2e8d719dbde2cd129140a28eb228cda36379d9a02169b80e06c8c318db643",
    ),
    (
        "20261129000010",
        "e063476283680fb62b29167876f3f7788a17dfa33977e406774ea7ac023ca0dae60439e1a4414a38092250c4ea57c74c",
    ),
    (
        "20261129000020",
        "dee5ad44787e1bd8bdcad406c6c81c7f4971711e2327ddd9060f922cc0181f60850ba7d8d48830c1bdf4b29ba961cba3",
    ),
    (
        "20261201000001",
        "337e3f383554313ff33c8ea5eac697d4a6498b561b234c162f02553547700f80e1a1fb50a75bc9d133e20917b3337f0d",
    ),
    (
        "20261201000002",
        "cae69b2498d47bdf04deda2bf2d66dc118b4163e83f019f6e43ca8b07cf86108733efcaeeedef6d5718f35e5b3ffa9ef",
    ),
    (
        "20261201000010",
        "b081f95da7a7fac4c2e876a6df859af5aadcce1a596a47b609daf116a945901ba2a6fac4f540cd0ce76520d65dab4527",
    ),
    (
        "20261201000020",
        "6b4150f9a5539078255d921043fdb9e44c120a4cc164c2e4b8c9a0135cecd01efe2ea671b9e73dcaef08672d10ad3855",
    ),
    (
        "20261203000001",
        "f067256921328b189b88afdbd55992ddc05a25e767346e55f260467ed5a9b69ac0381fa598498bbd75dfbb8b710fcc7e",
    ),
    (
        "20261205000001",
        "3954db097e9e42e385e7941f3e1477d425134fe838a8f7b4e40a8137bccffc4b5b18c19d5b42072f03ffe7194677d561",
    ),
    (
        "20261206000001",
        "a8e878d3f11d76de53b154e5d481752432313b31069ea181518646b31a4a2cd6f2b0095c3102830ab934a8986315b003",
    ),
    (
        "20261207000001",
        "2244cf24b34b6c7627ff2c50cc711b2763f0cbb17a19f0b0c6c6f7dc89a3140bb645d0f2433ee4fe560fd56b1502bc1e",
    ),
];

#[test]
fn a_released_migration_has_the_checksum_that_databases_have_stored() {
    for &(version, released) in RELEASED {
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
