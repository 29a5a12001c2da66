<?php
// Builds packages with the classes of the OCS console, and activates them as the console does.
//
//   php ocs-console.php CONSOLE FOLDER PLACE <packages.json
//
// CONSOLE is the folder with the files of the console, FOLDER that of `ocs-server up`, and PLACE the
// address from which agents fetch packages, without `https://`. The input is a list of forms: objects
// with the fields of the console's form. A field `file` is the path of an uploaded file. The ids of the
// packages are printed, one on each line.

[, $console, $folder, $place] = $argv;
define('CONFIG_DIR', "$console/config/");
define('DEMO', false);
define('VARLIB_DIR', $folder);

// The texts of the console.
$l = new class {
    public function g($number)
    {
        return "text $number";
    }
};

require "$console/require/function_commun.php";
require "$console/require/teledeploy/PackageBuilderParseXml.php";
require "$console/require/teledeploy/PackageBuilder.php";

mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
$database = mysqli_connect(null, 'ocs', 'ocs', 'ocsweb', 0, "$folder/mariadb.sock");
$_SESSION['OCS'] = ['readServer' => $database, 'writeServer' => $database];
$settings = [
    ['DOWNLOAD_PACK_DIR', null, $folder],
    ['DOWNLOAD_URI_INFO', null, $place],
    ['DOWNLOAD_URI_FRAG', null, $place],
    ['DOWNLOAD_PROTOCOL', null, 'HTTPS'],
    ['DOWNLOAD_AUTO_ACTIVATE', 1, null],
    ['DOWNLOAD_ACTIVATE_FRAG', 1, null],
    // The size of fragments in MiB.
    ['DOWNLOAD_RATIO_FRAG', 1, null],
];
foreach ($settings as [$name, $number, $text]) {
    $set = $database->prepare('REPLACE INTO config (NAME, IVALUE, TVALUE) VALUES (?, ?, ?)');
    $set->execute([$name, $number, $text]);
}

$builder = new PackageBuilder(null, new PackageBuilderParseXml());
$second = time();
foreach (json_decode(file_get_contents('php://stdin'), true) as $form) {
    // The id of a package is the second of its creation.
    while (time() <= $second) {
        usleep(10000);
    }
    $second = time();
    $upload = null;
    if (isset($form['file'])) {
        // The console takes an uploaded file away.
        $name = basename($form['file']);
        $copy = tempnam(sys_get_temp_dir(), 'upload');
        copy($form['file'], $copy);
        $upload = ['additionalfiles' => ['name' => $name, 'size' => filesize($copy), 'tmp_name' => $copy]];
    }
    // The builder writes a message for the page.
    ob_start();
    $builder->buildPackage($form, $upload);
    ob_end_clean();
    if ($upload !== null) {
        @unlink($copy);
    }
    $latest = $database->query('SELECT MAX(FILEID) FROM download_available');
    echo $latest->fetch_row()[0], "\n";
}
